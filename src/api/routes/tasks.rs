//! The routes about tasks.

use super::{Answer, Body, DELETE, GET, POST, Part, PartContent, Route, Type, json};
use crate::api::{
    GroupSubmitResponse, KEY_HEADER, Kind, ListQuery, ListRecord, LogQuery, LogRecord, NDJSON,
    PLAIN_TEXT, Parameter, Sweep, TaskCheckResponse, TaskDefinition, TaskDefinitionResponse,
    TaskDeleteResponse, TaskDryRunResponse, TaskListResponse, TaskOrigin, TaskStatus,
    TaskStopAllResponse, TaskStopResponse, TaskSubmitResponse, TaskWaitResponse, WaitQuery, path,
};

pub const ALL_USERS: Parameter = Parameter::new(
    "all_users",
    Kind::Flag,
    "whether it is about the tasks or volumes of all users",
)
.or("false");

pub const KEY: Parameter = Parameter::new(
    KEY_HEADER,
    Kind::Key,
    "the same request of the same key and user makes nothing twice, as long as what it made exists, and also through another \
     server; another request of that key is 422",
);

const FAIL_FAST: Parameter = Parameter::new(
    "fail_fast",
    Kind::Flag,
    "whether the failure of a node stops the other nodes",
)
.or("true");
const BARRIER: Parameter = Parameter::new(
    "barrier",
    Kind::Flag,
    "whether no node begins `run` before the `setup` of all has ended",
)
.or("true");
const RECOVER: Parameter = Parameter::new(
    "recover",
    Kind::Flag,
    "whether the task is started again when the cluster loses a node of it, also if its `job_recovery` does not say so",
)
.or("false");
const DRY_RUN: Parameter = Parameter::new(
    "dry_run",
    Kind::Flag,
    "only show the objects that would be created",
)
.or("false");
const CHECK: Parameter = Parameter::new(
    "check",
    Kind::Flag,
    "only say whether the task would be accepted",
)
.or("false");

const SWEEP: Parameter = Sweep::PARAMETERS[0];
const ARRAY: Parameter = Sweep::PARAMETERS[1];
const MAX_RUNNING: Parameter = Sweep::PARAMETERS[2];

const fn part(name: &'static str, content: PartContent, doc: &'static str) -> Part {
    Part {
        name,
        content,
        is_required: false,
        doc,
    }
}

const fn flag(parameter: Parameter) -> Part {
    part(parameter.name, PartContent::Value(parameter), parameter.doc)
}

const PARTS: &[Part] = &[
    Part {
        is_required: true,
        ..part(
            "task",
            PartContent::Json(Type::of::<TaskDefinition>()),
            "the task file, as JSON",
        )
    },
    part(
        "source",
        PartContent::Text,
        "the text of the task file, which is kept for `definition` up to 128 KiB packed",
    ),
    part(
        "origin",
        PartContent::Json(Type::of::<TaskOrigin>()),
        "where the file came from, `{options, directory, host}`, or why there is no text, `{left_out}`, which is kept too",
    ),
    flag(FAIL_FAST),
    flag(BARRIER),
    flag(RECOVER),
    flag(DRY_RUN),
    flag(CHECK),
    flag(SWEEP),
    flag(ARRAY),
    flag(MAX_RUNNING),
    part(
        "files",
        PartContent::File("application/gzip"),
        "the last part: a tar file, packed with gzip, of the directories `home` (unpacked to the home directory) and `root` \
         (unpacked to `/`)",
    ),
];

const LOGS: Route = Route {
    path: path::TASK_LOGS,
    answers: &[
        Answer {
            media_type: PLAIN_TEXT,
            types: &[Type::inline::<String>()],
            notes: "the text of the log, streamed",
        },
        Answer {
            media_type: NDJSON,
            types: &[Type::of::<LogRecord<'static>>()],
            notes: "with `Accept: application/x-ndjson`, one record a line, see `k8s-cli help logs`",
        },
    ],
    answer_headers: &[
        NOT_STORED,
        (
            "X-Content-Type-Options",
            "`nosniff`: a browser must not take the log for a page.",
        ),
    ],
    refusals: &[429],
    ..GET
};

pub const ROUTES: &[Route] = &[
    Route {
        path: path::TASKS_SUBMIT,
        name: "submit_task",
        summary: "Starts a task.",
        notes: "A server that does not know a part of the form refuses it, and does not start the task.",
        query: &[
            FAIL_FAST,
            BARRIER,
            RECOVER,
            DRY_RUN,
            CHECK,
            SWEEP,
            ARRAY,
            MAX_RUNNING,
        ],
        headers: &[KEY],
        bodies: &[
            Body::Json(
                Type::of::<TaskDefinition>(),
                "a task file, as JSON (see `k8s-cli help task-file`)",
            ),
            Body::Multipart(PARTS),
        ],
        answers: &[
            json(&[Type::of::<TaskSubmitResponse>()], ""),
            json(
                &[Type::of::<GroupSubmitResponse>()],
                "with `sweep` or `array`",
            ),
            json(&[Type::of::<TaskDryRunResponse>()], "with `dry_run`"),
            json(&[Type::of::<TaskCheckResponse>()], "with `check`"),
        ],
        refusals: &[404, 409, 429],
        ..POST
    },
    Route {
        path: path::TASKS,
        name: "list_tasks",
        summary: "Lists the tasks, newest first.",
        notes: "With `limit` and more tasks, the answer has a `continue`, with which the same query returns the next ones. With \
                `watch` the answer does not end: it has a record `task` for each task of the list and later for each that has \
                changed, `gone` for one that is not in the list any more (its `task` is null if it was stopped or deleted), \
                `synced` when all were sent, and `heartbeat`.",
        query: LIST_PARAMETERS,
        answers: &[
            json(&[Type::of::<TaskListResponse>()], ""),
            Answer {
                media_type: NDJSON,
                types: &[Type::of::<ListRecord>()],
                notes: "with `watch`, one record a line",
            },
        ],
        answer_headers: &[AGE, NOT_STORED],
        refusals: &[429],
        ..GET
    },
    Route {
        path: path::TASKS_WAIT,
        name: "wait_for_tasks",
        summary: "Answers when tasks have reached a state or never will, or when the time is over.",
        notes: "Without `done` the time was over. A task that was stopped meanwhile is missing.",
        query: WaitQuery::PARAMETERS,
        answers: &[json(&[Type::of::<TaskWaitResponse>()], "")],
        refusals: &[404, 429],
        ..GET
    },
    Route {
        path: path::TASK,
        name: "get_task",
        summary: "Shows one task.",
        query: &[Parameter::new(
            "events",
            Kind::Flag,
            "whether the last ten events of its Jobs and pods are added",
        )
        .or("false")],
        answers: &[json(&[Type::of::<TaskStatus>()], "")],
        answer_headers: &[AGE],
        ..GET
    },
    Route {
        path: path::TASK_DEFINITION,
        name: "get_task_definition",
        summary: "Returns the text of the task file without the values of secrets, and where it came from.",
        notes: "Without a text, `definition` is the task without its scripts.",
        answers: &[json(&[Type::of::<TaskDefinitionResponse>()], "")],
        ..GET
    },
    Route {
        path: path::TASK_STOP,
        name: "stop_task",
        summary: "Stops one task.",
        answers: &[json(&[Type::of::<TaskStopResponse>()], "")],
        ..POST
    },
    Route {
        path: path::TASKS_STOP,
        name: "stop_tasks",
        summary: "Stops every unfinished task, or those of a group.",
        query: &[
            ALL_USERS,
            Parameter::new("group", Kind::GroupId, "only tasks of this group"),
        ],
        answers: &[json(&[Type::of::<TaskStopAllResponse>()], "")],
        ..POST
    },
    Route {
        path: path::TASK,
        name: "delete_task",
        summary: "Deletes a task that has finished, with its log.",
        notes: "While it has not finished, that is 409.",
        answers: &[json(&[Type::of::<TaskDeleteResponse>()], "")],
        refusals: &[409],
        ..DELETE
    },
    Route {
        name: "get_task_log",
        summary: "Streams the log of a task, from its beginning until the task ends.",
        query: LogQuery::PARAMETERS,
        ..LOGS
    },
    Route {
        method: "POST",
        name: "get_task_log_by_form",
        summary: "Streams the log as `GET` does, with the same parameters as a form: the cursors of many nodes are too long for a URL.",
        bodies: &[Body::Form(LogQuery::PARAMETERS)],
        ..LOGS
    },
];

const AGE: (&str, &str) = (
    "Age",
    "The greatest possible age of the answer, in seconds; missing while the server asks Kubernetes instead of its view.",
);

const NOT_STORED: (&str, &str) = (
    "Cache-Control",
    "`no-store` if the answer does not end by itself.",
);

/// The parameters of a list, after `all_users`.
const LIST_PARAMETERS: &[Parameter] = &{
    const OTHERS: &[Parameter] = ListQuery::PARAMETERS;
    let mut all = [ALL_USERS; OTHERS.len() + 1];
    let mut index = 0;
    while index < OTHERS.len() {
        all[index + 1] = OTHERS[index];
        index += 1;
    }
    all
};
