use std::collections::BTreeSet;

use super::{super::Reason, *};
use crate::api::{Kind, ListQuery, LogQuery, Problem, Sweep, WaitQuery};

type Read = fn(&[(String, String)]) -> Option<Vec<Problem>>;

#[test]
fn queries_read_the_parameters_of_their_tables() {
    let readers: [(&[Parameter], Read); 3] = [
        (ListQuery::PARAMETERS, |pairs| {
            ListQuery::from_pairs(pairs).err()
        }),
        (WaitQuery::PARAMETERS, |pairs| {
            WaitQuery::from_pairs(pairs).err()
        }),
        (LogQuery::PARAMETERS, |pairs| {
            LogQuery::from_pairs(pairs).err()
        }),
    ];
    for (parameters, read) in readers {
        // A reader ignores unknown keys, and so their values.
        for parameter in parameters
            .iter()
            .filter(|parameter| !matches!(parameter.kind, Kind::Text))
        {
            let problems = read(&[(parameter.name.to_owned(), "?".to_owned())]);
            let problems = problems.unwrap_or_else(|| panic!("{} is not read", parameter.name));
            assert_eq!(problems[0].field, parameter.name);
        }
    }
}

#[test]
fn the_tables_have_all_parameters_of_the_queries() {
    let pairs = |text: &str| -> Vec<(String, String)> {
        let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap());
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let names = |parameters: &'static [Parameter]| -> BTreeSet<String> {
        (parameters.iter())
            .map(|parameter| parameter.name.to_owned())
            .collect()
    };
    let keys = |query: &str| -> BTreeSet<String> {
        pairs(query).into_iter().map(|(key, _)| key).collect()
    };
    // A query without defaults is written with all its keys.
    let list = "status=failed&name=a&user=b&group=ab12cd34&since=1s&sort=name&limit=1&continue=name.1.ab12cd34.61";
    let list = ListQuery::from_pairs(&pairs(list)).unwrap();
    let list = ListQuery {
        watch: true,
        ..list
    };
    assert_eq!(keys(&list.to_query()), names(ListQuery::PARAMETERS));
    let wait = WaitQuery::from_pairs(&pairs("id=ab12cd34&for=running&any=true&timeout=1s"));
    assert_eq!(
        keys(&wait.unwrap().to_query()),
        names(WaitQuery::PARAMETERS)
    );
    let swept = ["a=1".parse().unwrap()];
    let of_sweep = Sweep::new(swept.into(), None, Some(1));
    let of_array = Sweep::new(Vec::new(), Some(2), Some(1));
    let sweeps = [of_sweep, of_array].map(|sweep| sweep.unwrap().unwrap());
    let sweep = sweeps.iter().flat_map(Sweep::to_pairs);
    let sweep: BTreeSet<String> = sweep.map(|(key, _)| key.to_owned()).collect();
    let parameters: &'static [Parameter] = &Sweep::PARAMETERS;
    assert_eq!(sweep, names(parameters));
    let log =
        "follow=0&tail=1&since=1s&timestamps=1&node=1&attempt=1&wait=1s&joined=1&after=0-begin";
    let log = LogQuery::from_pairs(&pairs(log)).unwrap().to_pairs();
    let log: BTreeSet<String> = log.into_iter().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(log, names(LogQuery::PARAMETERS));
}

#[test]
fn every_status_of_a_reason_is_explained() {
    let explained: BTreeSet<u16> = REFUSALS.iter().map(|(status, _)| *status).collect();
    let known: BTreeSet<u16> = Reason::ALL
        .iter()
        .map(|reason| reason.http_status())
        .collect();
    assert_eq!(explained, known);
    for route in routes() {
        let all: BTreeSet<u16> = route.all_refusals().into_iter().collect();
        assert!(all.is_subset(&explained), "{} {all:?}", route.path);
    }
}

#[test]
fn the_methods_of_a_path_are_those_of_its_routes() {
    assert_eq!(methods("/tasks/{task_id}"), "GET, HEAD, DELETE");
    assert_eq!(methods("/tasks/{task_id}/logs"), "GET, HEAD, POST");
    assert_eq!(methods("/no/such/path"), "");
}

#[test]
fn a_type_names_its_keys() {
    use crate::api::{TaskDefinitionResponse, TaskListResponse, TaskState};
    let keys = Type::of::<TaskListResponse>().keys();
    assert_eq!(keys.as_deref(), Some("{tasks, continue?}"));
    let keys = Type::of::<TaskDefinitionResponse>().keys();
    let expected = "{task_id, source, definition, options?, directory?, host?, left_out?}";
    assert_eq!(keys.as_deref(), Some(expected));
    assert_eq!(Type::of::<TaskState>().keys(), None);
}
