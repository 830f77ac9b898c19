//! `k8s-cli nodes`: shows the machines of the cluster, and what of them is free.

use std::io::{self, Write};

use crate::{
    api::{ClusterNode, GpuType, format_size},
    cli::{Format, NodesArgs, When},
    client::{
        Context, Error, Exit,
        output::{self, Sheet},
    },
};

/// The cell for what nobody knows.
const UNKNOWN: &str = "unknown";

pub fn run(context: &mut Context<'_>, mut args: NodesArgs) -> Result<Exit, Error> {
    let answer = context.client(args.take_server())?.list_nodes()?;
    let nodes = &answer.value.nodes;
    match context.format(args.output) {
        format @ (Format::Json | Format::Yaml) => {
            output::document(context.out, format, &answer.body)?;
        }
        _ if nodes.is_empty() => context.say("no nodes"),
        format @ (Format::Table | Format::Wide) => {
            let sheet = Sheet {
                is_whole: format == Format::Wide,
                ..context.sheet(When::Auto)
            };
            table(context.out, sheet, nodes, &answer.value.gpus)?;
        }
        Format::Tsv => output::tsv(context.out, nodes.iter().map(cells))?,
        Format::Name => {
            let names = nodes.iter().map(|node| vec![node.name.clone()]);
            output::tsv(context.out, names)?;
        }
    }
    Ok(Exit::Done)
}

/// The nodes, and the GPUs of all of them by type, if there are any.
fn table(
    out: &mut dyn Write,
    sheet: Sheet,
    nodes: &[ClusterNode],
    gpus: &[GpuType],
) -> io::Result<()> {
    let has_gpus = !gpus.is_empty();
    let mut header = vec!["NODE", "STATUS", "CPUS", "FREE", "MEMORY", "FREE"];
    if has_gpus {
        header.extend(["GPUS", "FREE", "TYPE"]);
    }
    let rows = nodes.iter().map(|node| {
        let free = |show: &dyn Fn(&crate::api::Amounts) -> String| {
            node.free.as_ref().map_or(UNKNOWN.to_owned(), show)
        };
        let mut row = vec![
            node.name.clone(),
            status(node).to_owned(),
            node.total.cpus.to_string(),
            free(&|free| free.cpus.to_string()),
            format_size(node.total.memory),
            free(&|free| format_size(free.memory)),
        ];
        if has_gpus {
            row.push(node.total.gpus.to_string());
            row.push(free(&|free| free.gpus.to_string()));
            row.push(node.gpu_type.clone().unwrap_or_default());
        }
        row
    });
    output::table(out, sheet, &header, rows.collect())?;
    if !has_gpus {
        return Ok(());
    }
    writeln!(out)?;
    let rows = gpus.iter().map(|gpu| {
        let free = gpu.free.map(|free| free.to_string());
        vec![
            gpu.name.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            gpu.total.to_string(),
            free.unwrap_or_else(|| UNKNOWN.to_owned()),
        ]
    });
    output::table(out, sheet, &["GPU", "TOTAL", "FREE"], rows.collect())
}

fn status(node: &ClusterNode) -> &'static str {
    match node.ready {
        true => "ready",
        false => "not ready",
    }
}

/// The line for scripts, with memory in bytes. What is not known is empty.
fn cells(node: &ClusterNode) -> Vec<String> {
    let free = node.free.as_ref();
    let free = |show: &dyn Fn(&crate::api::Amounts) -> String| free.map_or(String::new(), show);
    vec![
        node.name.clone(),
        status(node).to_owned(),
        node.total.cpus.to_string(),
        free(&|free| free.cpus.to_string()),
        node.total.memory.to_string(),
        free(&|free| free.memory.to_string()),
        node.total.gpus.to_string(),
        free(&|free| free.gpus.to_string()),
        node.gpu_type.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Amounts, NodeListResponse},
        client::tests::written,
        golden,
    };

    #[test]
    fn a_table_shows_nodes_and_types_of_gpus() {
        let node = |name: &str, gpus, free: Option<u64>, gpu_type: Option<&str>| {
            let amounts = |gpus| Amounts {
                cpus: 31.5,
                memory: 64 << 30,
                gpus,
            };
            ClusterNode {
                name: name.to_owned(),
                ready: name != "gpu-2",
                total: amounts(gpus),
                free: free.map(amounts),
                gpu_type: gpu_type.map(str::to_owned),
            }
        };
        let answer = NodeListResponse::new(vec![
            node("cpu-0", 0, Some(0), None),
            node("gpu-1", 8, Some(3), Some("H100")),
            node("gpu-2", 8, None, Some("L4")),
        ]);
        let sheet = Sheet::default();
        let text = written(|out| table(out, sheet, &answer.nodes, &answer.gpus));
        golden::assert("output/nodes.table", &text);
        let text = written(|out| table(out, sheet, &answer.nodes[..1], &[]));
        golden::assert("output/nodes-without-gpus.table", &text);
        let lines = written(|out| output::tsv(out, answer.nodes.iter().map(cells)));
        golden::assert("output/nodes.tsv", &lines);
    }
}
