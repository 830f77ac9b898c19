use serde_json::json;

use super::{
    quantity::{read_cpus, read_disk_size, read_memory},
    *,
};

/// Reads `resources` with one field, and returns that field as it is written.
fn written(field: &str, value: &Value) -> Result<Value, String> {
    let mut problems = Vec::new();
    let resources = Resources::from_json(&json!({field: value}), &mut problems);
    match problems.as_slice() {
        [] => Ok(serde_json::to_value(resources).unwrap()),
        problems => Err(crate::api::describe(problems)),
    }
}

/// Checks the written forms of good values, and that the messages for bad values quote them.
#[track_caller]
fn check(field: &str, cases: &[(Value, Value)], bad: &[Value]) {
    for (value, expected) in cases {
        let written =
            written(field, value).unwrap_or_else(|error| panic!("{field}: {value}: {error}"));
        assert_eq!(&written[field], expected, "{field}: {value}");
    }
    for value in bad {
        let error = written(field, value)
            .map(|written| written.to_string())
            .unwrap_err();
        assert!(
            error.starts_with(&format!("resources.{field}")),
            "{value}: {error}"
        );
    }
}

#[test]
fn cpus() {
    let quantity = |value: Value| read_cpus(&value).map(|cpus| cpus.to_string());
    for (value, expected) in [
        (json!("2"), "2"),
        (json!(2), "2"),
        (json!(0.5), "0.5"),
        (json!(4.0), "4"),
        (json!("500m"), "500m"),
        (json!("4+"), "4+"),
        (json!("4 +"), "4+"),
        (json!("1e1"), "1e1"),
    ] {
        assert_eq!(quantity(value.clone()).as_deref(), Ok(expected), "{value}");
    }
    let bad = [
        json!("4c"),
        json!("4+ "),
        json!(0),
        json!("-1"),
        json!("4Gi"),
        json!(true),
        json!("inf"),
        json!("nan"),
        json!(""),
        json!([4]),
    ];
    check("cpus", &[], &bad);
}

#[test]
fn memory() {
    for (value, expected) in [
        (json!("4Gi"), "4Gi"),
        (json!("512Mi"), "512Mi"),
        (json!("16G"), "16G"),
        (json!(16), "16G"),
        (json!("16"), "16G"),
        (json!("16GB"), "16G"),
        (json!("16 gb"), "16G"),
        (json!("512MB"), "0.5G"),
        (json!("1TB"), "1024G"),
        (json!("2gi"), "2Gi"),
        (json!("8+"), "8G+"),
        (json!("8Gi+"), "8Gi+"),
        (json!(1.5), "1.5G"),
        // A bare number is in gigabytes, in any spelling.
        (json!("1e1"), "10G"),
        (json!("1e1GB"), "10G"),
    ] {
        assert_eq!(
            read_memory(&value)
                .map(|memory| memory.to_string())
                .as_deref(),
            Ok(expected),
            "{value}"
        );
    }
    // Memory is written as SkyPilot does.
    let good = [
        (json!("16GB+"), json!("16+")),
        (json!("16Gi"), json!("16Gi")),
        (json!("3x"), json!("3x")),
    ];
    let bad = [
        json!("16GiB"),
        json!(0),
        json!("-4Gi"),
        json!("lots"),
        json!("100m"),
        json!(""),
        json!("x"),
    ];
    check("memory", &good, &bad);
}

#[test]
fn disk_sizes() {
    let size = |value: Value| read_disk_size(&value);
    assert_eq!(size(json!(100)), Ok(Some(100)));
    assert_eq!(size(json!("1TB")), Ok(Some(1024)));
    assert_eq!(size(json!("100Gi")), Ok(Some(100)));
    assert_eq!(size(json!("2048mb")), Ok(Some(2)));
    assert_eq!(size(json!(256)), Ok(None));
    check(
        "disk_size",
        &[],
        &[
            json!(50.5),
            json!("1500MB"),
            json!("100+"),
            json!(0),
            json!(-1),
            json!("big"),
            json!("99999999PB"),
            json!("2048 mb"),
            json!("100 "),
        ],
    );
}

#[test]
fn accelerators() {
    check(
        "accelerators",
        &[
            (json!("1"), json!("1")),
            (json!("V100"), json!({"V100": 1})),
            (json!("V100:2"), json!({"V100": 2})),
            (json!("V100:0.5"), json!({"V100": 1})),
            (json!({"V100": 2}), json!({"V100": 2})),
            (json!({"V100": null}), json!({"V100": 1})),
            (json!({"H100:8": null}), json!({"H100": 8})),
            (json!("A100-80GB:4"), json!({"A100-80GB": 4})),
            (json!("H100 : 8"), json!({"H100": 8})),
            (json!(["T4:2", "V100"]), json!({"T4": 2})),
            (json!({"V100": 2, "A100": 1}), json!({"A100": 1})),
        ],
        &[
            json!("H100:0"),
            json!(8),
            json!(""),
            json!(":1"),
            json!([]),
            json!({}),
            json!({"V100": "x"}),
            json!({"V100": "1"}),
            json!([{"V100": 1}]),
            json!("V100:1:2"),
            json!("80GB"),
            json!("80GB+:2"),
            json!("nvidia:80GB"),
        ],
    );
    let both = Resources::from_json(
        &json!({"gpus": "T4", "accelerators": "T4"}),
        &mut Vec::new(),
    );
    assert_eq!(both.accelerators.map(|gpus| gpus.count), Some(1));
    let mut problems = Vec::new();
    Resources::from_json(&json!({"gpus": "T4", "accelerators": "T4"}), &mut problems);
    assert_eq!(problems.len(), 1);
}

#[test]
fn images() {
    check(
        "image_id",
        &[
            (json!("python:3.11"), json!("python:3.11")),
            (json!(" docker:ubuntu:22.04 "), json!("ubuntu:22.04")),
            (json!({"docker": "ubuntu"}), json!("ubuntu")),
            (json!({"us-east-1": "docker:ubuntu"}), json!("ubuntu")),
            // These are not container images. They stay as they are, and give a warning.
            (json!({"us-east-1": "ami-1"}), json!({"us-east-1": "ami-1"})),
            (json!(""), json!("")),
        ],
        &[
            json!(3),
            json!("a b"),
            json!("docker:"),
            json!({}),
            json!({"docker": "a", "x": "docker:b"}),
        ],
    );
}

#[test]
fn the_image_of_a_region_gives_a_warning() {
    let warnings = |image: Value| {
        let resources = Resources::from_json(&json!({"image_id": image}), &mut Vec::new());
        resources.warnings()
    };
    let regions = json!({"eu-west-1": "ami-1", "us-east-1": "docker:ubuntu"});
    let expected =
        "resources.image_id: of the images for regions that of \"us-east-1\" is taken, ubuntu";
    assert_eq!(warnings(regions), [expected]);
    assert!(warnings(json!({"docker": "ubuntu"})).is_empty());
    let machines = warnings(json!({"eu-west-1": "ami-1"}));
    assert!(machines[0].ends_with("so the default image is taken"));
}

#[test]
fn fields_without_effect_are_checked_and_passed_on() {
    check(
        "infra",
        &[
            (json!("K8S/my/ctx"), json!("kubernetes/my/ctx")),
            (json!("aws/us-east-1"), json!("aws/us-east-1")),
        ],
        &[
            json!(""),
            json!("k8s/"),
            json!("foo"),
            json!("aws/a/b/c"),
            json!(3),
        ],
    );
    check(
        "cloud",
        &[(json!("Kubernetes"), json!("kubernetes"))],
        &[json!("k8s"), json!("nope")],
    );
    check(
        "ports",
        &[
            (
                json!([8080, "8000-8010", "8011,9090"]),
                json!(["8000-8011", "8080", "9090"]),
            ),
            (json!([80, 80]), json!(["80"])),
            (json!(""), Value::Null),
        ],
        &[
            json!(0),
            json!(65536),
            json!("8090-8080"),
            json!(80.5),
            json!("abc"),
            json!([[1]]),
        ],
    );
    check(
        "labels",
        &[(json!({"a": "b"}), json!({"a": "b"}))],
        &[
            json!(["a"]),
            json!({"a": null}),
            json!({"a": 1}),
            json!({"-": "x"}),
        ],
    );
    check(
        "autostop",
        &[
            (json!("10h"), json!({"idle_minutes": 600, "down": false})),
            (
                json!({"down": true}),
                json!({"idle_minutes": 0, "down": true}),
            ),
            (json!(false), json!(false)),
        ],
        &[
            json!("10s"),
            json!(-5),
            json!(1.5),
            json!({"idle_minutes": "ten"}),
            json!({"idle": 1}),
        ],
    );
    check(
        "job_recovery",
        &[(json!("failover"), json!({"strategy": "FAILOVER"}))],
        &[
            json!({"recover_on_exit_codes": 256}),
            json!({"recover_on_exit_codes": [1, 1]}),
            json!({"max_restarts_on_errors": -1}),
        ],
    );
    check(
        "priority",
        &[(json!(1.0), json!(1.0))],
        &[json!("5"), json!(1001)],
    );
    check(
        "disk_tier",
        &[(json!("HIGH"), json!("high"))],
        &[json!("none")],
    );
    check("max_hourly_cost", &[(json!(0.5), json!(0.5))], &[json!(0)]);
    check("use_spot", &[(json!(true), json!(true))], &[json!("true")]);
    check("_cluster_config_overrides", &[(json!({}), json!({}))], &[]);
    check("spot_recovery", &[], &[json!("none"), Value::Null]);
}

#[test]
fn quantities() {
    for text in [
        "1", "0.5", ".5", "10Gi", "1Ti", "500m", "1e3", "1E6", "1e-3", "+1",
    ] {
        assert!(
            Quantity::parse(text).is_ok_and(|quantity| quantity.is_positive()),
            "{text}"
        );
    }
    for text in [
        "",
        "Gi",
        "10GB",
        "1 Gi",
        "1.2.3",
        "0x10",
        "1e",
        "ten",
        "1e+1000000",
    ] {
        assert!(Quantity::parse(text).is_err(), "{text}");
    }
    for text in ["0", "-1", "0Gi", "0.0"] {
        assert!(
            Quantity::parse(text).is_ok_and(|quantity| !quantity.is_positive()),
            "{text}"
        );
    }
}

#[test]
fn a_volume_size_is_in_gi_where_it_has_no_unit() {
    for (value, expected) in [
        (json!("10"), "10Gi"),
        (json!(10), "10Gi"),
        (json!("10Gi"), "10Gi"),
        (json!("10GB"), "10Gi"),
        (json!("1TB"), "1Ti"),
        (json!("512mb"), "512Mi"),
        (json!("500M"), "500M"),
        (json!(0.5), "0.5Gi"),
    ] {
        assert_eq!(read_volume_size(&value).as_deref(), Ok(expected), "{value}");
    }
    for value in [
        json!("100m"),
        json!("0"),
        json!("10+"),
        json!("-1Gi"),
        json!("much"),
        json!([]),
        // Kubernetes would show it as 107374182400m.
        json!(0.1),
        json!("99999999999999999999"),
    ] {
        assert!(read_volume_size(&value).is_err(), "{value}");
    }
}
