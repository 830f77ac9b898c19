use serde_json::json;

use super::*;

#[track_caller]
fn check<T: fmt::Display>(
    read: fn(&Value) -> Result<T, String>,
    cases: &[(Value, &str)],
    bad: &[Value],
) {
    for (value, written) in cases {
        assert_eq!(
            read(value).map(|read| read.to_string()).as_deref(),
            Ok(*written),
            "{value}"
        );
    }
    for value in bad {
        let error = read(value).map(|read| read.to_string()).unwrap_err();
        assert!(error.contains(&value.to_string()), "{error}");
    }
}

#[test]
fn cpus() {
    check(
        read_cpus,
        &[
            (json!("2"), "2"),
            (json!(2), "2"),
            (json!(0.5), "0.5"),
            (json!(4.0), "4"),
            (json!("500m"), "500m"),
            (json!("4+"), "4+"),
            (json!("4 +"), "4+"),
            (json!("1e1"), "1e1"),
        ],
        &[
            json!("4c"),
            json!(0),
            json!("-1"),
            json!("4Gi"),
            json!(true),
            json!("inf"),
            json!("nan"),
            json!(""),
            json!([4]),
        ],
    );
}

#[test]
fn memory() {
    check(
        read_memory,
        &[
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
        ],
        &[
            json!("16GiB"),
            json!(0),
            json!("-4Gi"),
            json!("lots"),
            json!("100m"),
            json!(null),
            json!(""),
        ],
    );
}

#[test]
fn accelerators() {
    check(
        Accelerators::from_json,
        &[
            (json!("1"), "1"),
            (json!(2), "2"),
            (json!("V100"), "V100:1"),
            (json!("V100:2"), "V100:2"),
            (json!("V100:0.5"), "V100:1"),
            (json!({"V100": 2}), "V100:2"),
            (json!({"H100:8": null}), "H100:8"),
            (json!("A100-80GB:4"), "A100-80GB:4"),
        ],
        &[
            json!("8xH100:0"),
            json!(0),
            json!(""),
            json!(":1"),
            json!([]),
            json!({}),
            json!({"V100": "x"}),
            json!("A B"),
        ],
    );
}

#[test]
fn images() {
    check(
        read_image,
        &[
            (json!("python:3.11"), "python:3.11"),
            (json!("docker:ubuntu:22.04"), "ubuntu:22.04"),
            (json!({"docker": "ubuntu"}), "ubuntu"),
        ],
        &[json!(3), json!("a b"), json!("docker:"), json!({})],
    );
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
