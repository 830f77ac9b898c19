//! Merge keys: the field by which a strategic merge finds the namesake of a list item.

/// Lists by field name, and the merge key of their items: the `patchMergeKey` tags in Kubernetes,
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
