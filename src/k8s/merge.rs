//! Merge keys: the fields by which a strategic merge matches list items.

/// The merge keys of lists, by the name of the list: the `patchMergeKey` tags in Kubernetes,
/// `staging/src/k8s.io/api/core/v1/types.go` and `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/types.go`, v1.36.
const MERGE_KEYS: [(&str, &str); 11] = [
    ("conditions", "type"),
    ("containers", "name"),
    ("env", "name"),
    ("hostAliases", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ownerReferences", "uid"),
    ("ports", "containerPort"),
    ("volumeDevices", "devicePath"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// The merge key of the items of a list, if there is one.
pub fn merge_key(list: &str) -> Option<&'static str> {
    let row = MERGE_KEYS.iter().find(|(name, _)| *name == list);
    row.map(|(_, key)| *key)
}
