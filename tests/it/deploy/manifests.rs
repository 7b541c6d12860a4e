//! The manifests for Kubernetes, as kustomize puts them together: each object is one, and what they say of each other is so.
//! `scripts/try-manifests` has a real API server admit them.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    cli::Done,
    harness::{
        cluster::needed,
        process::{lines_of, output},
    },
};

/// The kinds of KEDA and of the Prometheus operator, which no release of Kubernetes has a schema of.
const FOREIGN: [&str; 3] = ["ScaledObject", "ServiceMonitor", "TriggerAuthentication"];
/// What spoils each of them: a field that is not known, a wrong type, a value out of range or form, something that is missing.
const FOREIGN_SPOILS: [(&str, &str); 7] = [
    ("pollingInterval: 15", "pollInterval: 15"),
    ("maxReplicaCount: 12", "maxReplicaCount: twelve"),
    ("currentReplicasIfHigher", "currentReplicasIfHighest"),
    ("type: metrics-api", "name: metrics-api"),
    ("parameter: token", "parameters: token"),
    ("port: ops\n  jobLabel", "ports: ops\n  jobLabel"),
    ("interval: 15s", "interval: 15 s"),
];
/// Both components that an overlay of the cluster may have.
const OVERLAY: &str = "
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../cluster]
components: [../components/keda, ../components/monitoring]
";

/// The objects of a folder as YAML.
fn built(folder: &Path) -> String {
    let kustomize = needed("ENCARGO_TEST_KUSTOMIZE");
    let mut words = kustomize.split(' ');
    let mut command = Command::new(words.next().unwrap());
    Done::from(output(command.args(words).arg(folder))).ok()
}

/// Each object, with what is wrong with it, by Kubernetes' own schemas and by definitions in these files.
fn judged(manifests: &str, definitions: &[&str]) -> Vec<(Value, Value)> {
    let judged = |line: String| {
        let mut line: Value = serde_json::from_str(&line).unwrap();
        (line["object"].take(), line["verdict"].take())
    };
    lines_of("tests/contract/manifests.py", definitions, manifests).into_iter().map(judged).collect()
}

/// Whether the verdict on an object is that something is wrong.
fn refused(verdict: &Value) -> bool {
    verdict.as_str().is_some_and(|words| words != "ok")
}

/// The objects, of which each is well-formed.
fn objects(manifests: &str) -> Vec<Value> {
    let judge = |(object, verdict): (Value, Value)| {
        let kind = object["kind"].as_str().unwrap();
        let expected = if FOREIGN.contains(&kind) { Value::Null } else { "ok".into() };
        assert_eq!(verdict, expected, "{object}");
        object
    };
    let objects: Vec<_> = judged(manifests, &[]).into_iter().map(judge).collect();
    assert!(!objects.is_empty());
    objects
}

/// With both components.
fn cluster() -> String {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-R", "deploy/kubernetes/."]).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    let overlay = folder.path().join("overlay");
    fs::create_dir(&overlay).unwrap();
    fs::write(overlay.join("kustomization.yaml"), OVERLAY).unwrap();
    built(&overlay)
}

fn single() -> String {
    built(Path::new("deploy/kubernetes/single"))
}

fn name(object: &Value) -> (&str, &str) {
    (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

/// The labels of the pods that there will be.
fn pods(objects: &[Value]) -> Vec<&Value> {
    let templates = objects.iter().map(|object| &object["spec"]["template"]["metadata"]["labels"]);
    templates.filter(|labels| !labels.is_null()).collect()
}

#[test]
fn each_object_is_well_formed_and_a_spoilt_one_is_found() {
    for manifests in [single(), cluster()] {
        objects(&manifests);
        let spoils = [("runAsNonRoot", "runAsNoRoot"), ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: 1")];
        for (good, spoilt) in spoils {
            assert!(manifests.contains(good), "{good}");
            let verdicts = judged(&manifests.replace(good, spoilt), &[]);
            assert!(verdicts.iter().any(|(_, verdict)| refused(verdict)), "{spoilt}");
        }
    }
}

#[test]
fn kinds_of_other_projects_are_as_these_define_them_and_a_spoilt_one_is_found() {
    let definitions = needed("ENCARGO_TEST_CRDS");
    let definitions: Vec<_> = definitions.split_whitespace().collect();
    let foreign = |manifests: &str| -> Vec<_> {
        let judged = judged(manifests, &definitions).into_iter();
        judged.filter(|(object, _)| FOREIGN.contains(&name(object).0)).collect()
    };
    let manifests = cluster();
    let objects = foreign(&manifests);
    let kinds: BTreeSet<_> = objects.iter().map(|(object, _)| name(object).0).collect();
    assert_eq!(kinds, BTreeSet::from(FOREIGN));
    for (object, verdict) in &objects {
        assert_eq!(verdict, "ok", "{object}");
    }
    for (good, spoilt) in FOREIGN_SPOILS {
        assert!(manifests.contains(good), "{good}");
        let objects = foreign(&manifests.replace(good, spoilt));
        assert!(objects.iter().any(|(_, verdict)| refused(verdict)), "{spoilt}");
    }
}

#[test]
fn selectors_and_targets_name_what_is_there() {
    for manifests in [single(), cluster()] {
        let objects = objects(&manifests);
        let names: BTreeSet<_> = objects.iter().map(name).collect();
        for object in &objects {
            let spec = &object["spec"];
            let selector = match object["kind"].as_str().unwrap() {
                "Service" => &spec["selector"],
                "PodDisruptionBudget" | "Deployment" | "StatefulSet" => &spec["selector"]["matchLabels"],
                "ScaledObject" => {
                    let target = &spec["scaleTargetRef"];
                    let (kind, target) = (target["kind"].as_str().unwrap(), target["name"].as_str().unwrap());
                    assert!(names.contains(&(kind, target)), "{object}");
                    let secret = spec["triggers"][0]["authenticationRef"]["name"].as_str().unwrap();
                    assert!(names.contains(&("TriggerAuthentication", secret)), "{object}");
                    continue;
                }
                _ => continue,
            };
            let selector = selector.as_object().unwrap();
            let selects = |labels: &&&Value| selector.iter().all(|(label, value)| labels.get(label) == Some(value));
            assert!(!selector.is_empty() && pods(&objects).iter().find(selects).is_some(), "{object}");
        }
    }
}

#[test]
fn the_settings_are_understood() {
    for manifests in [single(), cluster()] {
        let objects = objects(&manifests);
        let settings = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
        // the secrets' files, as the pods have them
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().to_str().unwrap();
        for secret in ["ops-token", "api-key", "postgres"] {
            fs::write(folder.path().join(secret), "a-secret-of-enough-letters").unwrap();
        }
        let file = folder.path().join("encargo.toml");
        let text = settings["data"]["encargo.toml"].as_str().unwrap();
        fs::write(&file, text.replace("/run/secrets/encargo", secrets)).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_encargo"));
        Done::from(output(check.args(["config", "check"]).arg(&file))).ok();
    }
}
