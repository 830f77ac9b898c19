//! Images of a registry that asks for a login.

use std::{fs, path::Path, process::Command, sync::Arc};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::harness::{World, is_real_cluster};

/// `ada:s3cret`, as HTTP's basic authentication has it.
const LOGIN: &str = "Basic YWRhOnMzY3JldA==";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The parts of an image, by their digest.
struct Image {
    manifest: Vec<u8>,
    blobs: Vec<(String, Vec<u8>)>,
}

fn name(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// An image with the bash of this machine and nothing else.
fn bash_image() -> Image {
    let mut layer = tar::Builder::new(Vec::new());
    let listed = Command::new("ldd").arg("/bin/bash").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in libraries.chain(["/bin/bash"]) {
        let content = fs::canonicalize(path).unwrap();
        layer
            .append_path_with_name(content, path.trim_start_matches('/'))
            .unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [name(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, content: &[u8]| json!({"mediaType": kind, "size": content.len(), "digest": name(content)});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": part("application/vnd.docker.container.image.v1+json", &config),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar", &layer)],
    });
    Image {
        manifest: manifest.to_string().into_bytes(),
        blobs: [config, layer]
            .into_iter()
            .map(|blob| (name(&blob), blob))
            .collect(),
    }
}

async fn answer(image: web::Data<Image>, request: HttpRequest) -> HttpResponse {
    let login = request.headers().get("authorization");
    if login.is_none_or(|login| login != LOGIN) {
        return HttpResponse::Unauthorized()
            .insert_header(("www-authenticate", "Basic realm=\"test\""))
            .finish();
    }
    let path = request.path();
    let wanted = path.rsplit('/').next().unwrap_or_default();
    if path == "/v2/" {
        return HttpResponse::Ok().finish();
    }
    if path.contains("/manifests/") {
        return HttpResponse::Ok()
            .insert_header(("docker-content-digest", name(&image.manifest)))
            .content_type(MANIFEST)
            .body(image.manifest.clone());
    }
    match image.blobs.iter().find(|(name, _)| name == wanted) {
        Some((_, blob)) => HttpResponse::Ok().body(blob.clone()),
        None => HttpResponse::NotFound().finish(),
    }
}

/// Starts a registry; returns its address.
fn registry() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let image = web::Data::from(Arc::new(bash_image()));
            let app = move || {
                App::new()
                    .app_data(image.clone())
                    .default_service(web::to(answer))
            };
            let server = HttpServer::new(app).workers(1).disable_signals();
            let server = server.bind(("127.0.0.1", 0)).unwrap();
            sender.send(server.addrs()[0].to_string()).unwrap();
            server.run().await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// The sandbox has no images. A cluster on another machine does not reach the registry.
fn reaches_this_machine() -> bool {
    let kubeconfig = std::env::var_os("KUBECONFIG").filter(|_| is_real_cluster());
    let text = kubeconfig.map(|path| fs::read_to_string(Path::new(&path)).unwrap());
    text.is_some_and(|text| text.contains("https://127.0.0.1:"))
}

#[test]
fn a_private_image_is_pulled_with_the_login_of_the_task() {
    if !reaches_this_machine() {
        eprintln!("no cluster runs containers on this machine, so no image is pulled");
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let server = registry();
    let file = ada.file(&format!(
        "resources: {{image_id: docker:team/bash:1}}\nsecrets:\n  SKYPILOT_DOCKER_USERNAME: ada\n  SKYPILOT_DOCKER_PASSWORD: s3cret\n  \
         SKYPILOT_DOCKER_SERVER: {server}\nrun: 'echo pulled ${{SKYPILOT_DOCKER_PASSWORD-without a password}}'"
    ));
    let run = ada.run(["jobs", "submit", &file]).success();
    assert!(
        run.stdout.ends_with("\npulled without a password\n"),
        "{}",
        run.stdout
    );
    let jobs: Vec<k8s_openapi::api::batch::v1::Job> = world.objects();
    let jobs: Value = serde_json::to_value(&jobs).unwrap();
    assert!(!jobs.to_string().contains("s3cret"), "{jobs}");
}
