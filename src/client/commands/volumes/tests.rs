//! Tests of printed lists and blocks (`fixtures/output/`), and of the question before a volume is deleted.

use jiff::tz::{self, TimeZone};
use serde_json::json;

use super::*;
use crate::{
    api::VolumeListResponse,
    client::tests::{Session, written},
    golden,
};

fn volumes() -> Vec<VolumeStatus> {
    let body = json!({"volumes": [
        {
            "volume_id": "vol00001", "name": "data", "size": "10Gi", "storage_class": null,
            "access_modes": ["ReadWriteOnce", "ReadOnlyMany"], "status": "Pending",
            "created_at": "2025-10-05T12:33:56.000000", "username": "ada",
            "reason": "waiting for first consumer to be created before binding",
            "metadata": {"pvc_name": "data-vol00001", "namespace": "default"}
        },
        {
            "volume_id": "vol00002", "name": "models", "size": "1Ti", "storage_class": "fast",
            "access_modes": ["ReadWriteMany"], "status": "Bound", "created_at": "2025-09-01T00:00:00",
            "username": "user-example.com", "used_by": ["ab12cd34", "ef56gh78"], "metadata": {"pvc_name": "models-vol00002", "namespace": "default"}
        }
    ]});
    serde_json::from_value::<VolumeListResponse>(body)
        .unwrap()
        .volumes
}

#[test]
fn a_table_lists_volumes_for_people() {
    let now: Timestamp = "2025-10-05T12:34:56".parse().unwrap();
    for (details, file) in [
        (false, "volumes-list.table"),
        (true, "volumes-list-details.table"),
    ] {
        let columns = Columns {
            details,
            all_users: false,
        };
        let table = written(|out| table(out, &volumes(), columns, Sheet::default(), now));
        golden::assert(&format!("output/{file}"), &table);
    }
}

#[test]
fn tab_separated_lines_list_volumes_for_scripts() {
    let lines = written(|out| output::tsv(out, volumes().iter().map(cells)));
    golden::assert("output/volumes-list.tsv", &lines);
}

#[test]
fn a_block_shows_one_volume_for_people_and_for_scripts() {
    let clock = Clock {
        now: "2025-10-05T12:34:56".parse().unwrap(),
        zone: TimeZone::fixed(tz::offset(2)),
    };
    for (format, extension) in [(Format::Table, "table"), (Format::Tsv, "tsv")] {
        let block = written(|out| block(out, format, Sheet::default(), &volumes()[0], &clock));
        golden::assert(&format!("output/volumes-status.{extension}"), &block);
    }
}

#[test]
fn only_a_yes_deletes() {
    let question = question(&volumes()[1]);
    for (answer, is_yes) in [
        ("y\n", true),
        ("YES\n", true),
        ("\n", false),
        ("no\n", false),
        ("yesterday\n", false),
        ("", false),
    ] {
        let mut session = Session::at_a_terminal(answer);
        let result = session.run(|context| context.ask(&question));
        assert_eq!(result.is_ok(), is_yes, "{answer:?}");
        assert_eq!(
            session.err(),
            "delete volume vol00002 (models, 1Ti, Bound, of user-example.com, used by ab12cd34,ef56gh78) and all its data? [y/N] "
        );
        assert_eq!(session.out(), "");
    }
}

#[test]
fn an_id_that_fails_does_not_stop_the_others() {
    let mut session = Session::default();
    let mut done = Vec::new();
    let result = session.run(|context| {
        for_each(context, ["a", "b", "c"], |_, id| {
            done.push(id);
            if id == "b" {
                return Ok(());
            }
            Err(Error::Usage(format!("{id} is wrong")))
        })
    });
    assert_eq!(result.unwrap_err().to_string(), "c is wrong");
    assert_eq!(session.err(), "k8s-cli: a is wrong\n");
    assert_eq!(done, ["a", "b", "c"]);
}
