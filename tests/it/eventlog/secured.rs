//! A broker that takes TLS and a password, and an account that may do only what docs/kafka.md says.

use std::{collections::BTreeSet, process::Command};

use encargo::eventlog::kafka::{KafkaLog, Options};

use super::{
    away::{Broker, open},
    *,
};
use crate::{
    harness::{
        cluster::{Cluster, needed},
        eventually,
    },
    roles::{finished, place},
};

#[test]
fn kafka_tls_and_a_password_let_us_in_and_a_wrong_one_is_told() {
    let broker = Broker::start_with(&[("KAFKA_TLS", "1")]);
    let password = std::fs::read_to_string(broker.tls_file("password")).unwrap();
    let options = |password: &str| {
        let mut options = Options { brokers: broker.secured_address(), ..broker.options() };
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "encargo"),
            ("sasl.password", password),
            ("ssl.ca.location", broker.tls_file("ca.pem").to_str().unwrap()),
        ] {
            options.properties.insert(name.into(), value.into());
        }
        options
    };
    let log = open(options(password.trim()));
    append(&log, numbered("in", 0, 0..10));
    let (mut member, _) = join(&log, "g", &["in"]);
    assert_eq!(next(&mut *member).1.len(), 10);
    commit(&mut *member, &numbered("out", 0, 0..1), &[offset("in", 0, 10, "")]);
    assert_eq!(read_all(&log, &part("out", 0), 0).len(), 1);
    let mut stranger = options(password.trim());
    stranger.properties.remove("ssl.ca.location");
    for (options, told) in [(options("wrong"), "authentication failed"), (stranger, "ssl.ca.location")] {
        // it is tried for the whole of this time, however clear the answer is, so ask often rather than long
        let options = Options { request_timeout: Duration::from_secs(5), ..options };
        wait(eventually(told, async || match KafkaLog::open(options.clone()) {
            Err(error) if error.to_string().contains(told) => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => panic!("it is let in, without {told}"),
        }));
    }
}

/// A way to reach it that is wrong: address, properties, and what has to be said of it.
type Wrong<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn kafka_every_wrong_way_to_connect_says_what_to_write() {
    let broker = Broker::start_with(&[("KAFKA_TLS", "1")]);
    let password = std::fs::read_to_string(broker.tls_file("password")).unwrap();
    let (plain, secured) = (broker.address(), broker.secured_address());
    let [ca, other, no_certificate] = ["ca.pem", "broker.pem", "ca.key"].map(|name| broker.tls_file(name));
    let [ca, other, no_certificate] =
        [&ca, &other, &no_certificate].map(|path| ("ssl.ca.location", path.to_str().unwrap()));
    let (user, password) = (("sasl.username", "encargo"), ("sasl.password", password.trim()));
    let [tls, login, both] = ["SSL", "SASL_PLAINTEXT", "SASL_SSL"].map(|name| ("security.protocol", name));
    let scram = ("sasl.mechanism", "SCRAM-SHA-256");
    let table: &[Wrong] = &[
        (&secured, &[], "\"security.protocol\" = \"S"),
        (&secured, &[login, scram, user, password], "\"security.protocol\" = \"SASL_SSL\""),
        (&plain, &[tls, ca], "\"security.protocol\" = \"PLAINTEXT\""),
        (&plain, &[both, scram, user, password, ca], "\"security.protocol\" = \"SASL_PLAINTEXT\""),
        (&plain, &[login, scram, user, password], "wants no login"),
        (&secured, &[tls, ca], "\"security.protocol\" = \"SASL_SSL\""),
        (&secured, &[both, scram, user, ("sasl.password", "wrong"), ca], "\"sasl.password\""),
        (&secured, &[both, scram, ("sasl.username", "eva"), password, ca], "\"sasl.username\""),
        (&secured, &[both, ("sasl.mechanism", "PLAIN"), user, password, ca], "to one of SCRAM-SHA-256"),
        (&secured, &[both, user, password, ca], "\"sasl.mechanisms\""),
        (&secured, &[both, scram, ca], "sasl.username and sasl.password"),
        (&secured, &[both, scram, user, password], "\"ssl.ca.location\""),
        (&secured, &[both, scram, user, password, other], "\"ssl.ca.location\""),
        (&secured, &[both, scram, user, password, no_certificate], "cannot be read"),
        (&secured, &[("security.protocol", "TLS")], "security.protocol"),
        ("127.0.0.1:1", &[], "is the broker running"),
        ("kafka.invalid:9092", &[], "name that is not known"),
    ];
    // side by side, since each tries for as long as a busy machine may need
    std::thread::scope(|scope| {
        for (address, properties, told) in table {
            let mut options = Options {
                brokers: (*address).to_owned(),
                request_timeout: Duration::from_secs(20),
                ..broker.options()
            };
            options.properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            scope.spawn(move || {
                let ends = crate::harness::real_clock().monotonic() + PATIENCE;
                let open = || KafkaLog::open(options.clone()).map(drop).unwrap_err().to_string();
                let mut said = open();
                // it stood still for longer than the library gives to set up a connection
                while said.contains("setup timed out") && crate::harness::real_clock().monotonic() < ends {
                    said = open();
                }
                assert!(said.contains(told), "{address} {properties:?}:\n{said}\nlacks {told}");
            });
        }
    });
}

/// A broker that takes rights seriously, and a set-up whose account `encargo` has none; the topics are not there yet.
async fn with_rights() -> (Broker, Cluster) {
    let authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
                      super.users=User:ANONYMOUS";
    let broker = Broker::start_with(&[("KAFKA_TLS", "1"), ("KAFKA_EXTRA", authorizer)]);
    let url = format!("kafka://{}", broker.address());
    let cluster = Cluster::name(&[("log.url", &*url), ("log.replication", "1"), ("log.min_insync", "1")]).await;
    (broker, cluster)
}

/// From here on the set-up is by that account.
fn secure(cluster: &mut Cluster, broker: &Broker) {
    cluster.set("log.url", format!("kafka://{}", broker.secured_address()));
    let secure = format!(
        "[log.kafka]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanisms\" = \"SCRAM-SHA-256\"\n\
         \"sasl.username\" = \"encargo\"\n\"sasl.password_file\" = \"{}\"\n\"ssl.ca.location\" = \"{}\"\n",
        broker.tls_file("password").display(),
        broker.tls_file("ca.pem").display()
    );
    std::fs::write(cluster.folder.path().join("encargo.toml"), secure).unwrap();
}

fn grant(broker: &Broker, rights: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/grant.py");
    let mut command = Command::new(needed("ENCARGO_TEST_PYTHON"));
    assert!(command.arg(script).args(["--brokers", &broker.address()]).args(rights).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_an_account_needs_what_the_documents_say_and_no_more() {
    let (broker, mut cluster) = with_rights().await;
    secure(&mut cluster, &broker);

    let refused = cluster.output(&["log", "init"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("uthoriz"), "without any right: {said}");
    let topics = cluster.config().topics;
    let check = || String::from_utf8(cluster.output(&["log", "check"]).stdout).unwrap();
    let told = check();
    let add =
        format!("kafka-acls.sh --bootstrap-server {} --add --allow-principal User:encargo", broker.secured_address());
    for lacking in [
        format!(
            "{add} --operation Describe --operation DescribeConfigs --operation Read --operation Write --topic {}",
            topics.dead
        ),
        format!("{add} --operation Write --resource-pattern-type prefixed --transactional-id encargo-fulfilment-"),
        format!("{add} --operation DescribeConfigs --cluster"),
    ] {
        assert!(told.contains(&lacking), "{told}\nlacks {lacking}");
    }
    let [orders, states, dead] = [&topics.orders, &topics.states, &topics.dead].map(String::as_str);
    let of_changes = [&topics.flows, &topics.commands, &topics.outcomes].map(String::as_str);
    grant(&broker, &[&["--ids", &topics.ids, "--topics", orders, states, dead], &of_changes[..]].concat());

    cluster.run(&["log", "init"]);
    assert_eq!(cluster.run(&["log", "check"]), "", "an account with these rights lacks none");
    let up = cluster.start("up", 0).await;
    let placed = place(&up, "ana@example.org").await;
    finished(&up, &placed["orderid"]).await;
    let groups = cluster.run(&["log", "groups", "--json"]);
    assert!(groups.contains("encargo-fulfilment") && groups.contains("encargo-tracking"), "{groups}");
    let records = cluster.run(&["log", "read", &topics.states, "--json"]);
    assert_eq!(records.lines().count(), 4, "{records}");
    cluster.run(&["log", "topics", "--json"]);
    let log = std::fs::read_to_string(cluster.log_of("up", 0)).unwrap();
    assert!(!log.to_lowercase().contains("authoriz"), "{log}");

    let denied = [
        ("TOPIC", orders, "WRITE", "Write --topic"),
        ("TOPIC", states, "READ", "Read --topic"),
        ("TOPIC", &topics.ids, "DELETE", "Delete --topic"),
        ("TOPIC", dead, "DESCRIBE_CONFIGS", "DescribeConfigs --topic"),
        ("GROUP", "encargo-tracking", "READ", "Read --group"),
        (
            "TRANSACTIONAL_ID",
            "encargo-fulfilment-",
            "WRITE",
            "Write --resource-pattern-type prefixed --transactional-id",
        ),
    ];
    let rights = denied.map(|(kind, name, operation, _)| format!("{kind}:{name}:{operation}"));
    grant(&broker, &["--deny"].into_iter().chain(rights.iter().map(String::as_str)).collect::<Vec<_>>());
    let lacking = denied.map(|(_, name, _, flags)| format!("  {add} --operation {flags} {name}"));
    let commands = |told: &str| {
        told.lines().filter(|line| line.contains("kafka-acls")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(commands(&check()), BTreeSet::from(lacking));
}

/// What a `kafka-acls.sh` for our account gives, as `grant.py` takes it.
fn rights(command: &str) -> Vec<String> {
    let flags: Vec<_> = command.split_once("User:encargo ").expect(command).1.split(' ').collect();
    let (kind, name) = match flags[flags.len() - 2..] {
        ["--topic", name] => ("TOPIC", name),
        ["--group", name] => ("GROUP", name),
        ["--transactional-id", name] => ("TRANSACTIONAL_ID", name),
        [.., "--cluster"] => ("BROKER", "kafka-cluster"),
        _ => panic!("{command}"),
    };
    let operations = flags.windows(2).filter(|pair| pair[0] == "--operation").map(|pair| match pair[1] {
        "DescribeConfigs" => "DESCRIBE_CONFIGS".to_owned(),
        operation => operation.to_uppercase(),
    });
    operations.map(|operation| format!("{kind}:{name}:{operation}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_each_role_does_its_work_with_what_the_check_says_that_it_lacks() {
    let (broker, mut cluster) = with_rights().await;
    cluster.run(&["log", "init"]);
    secure(&mut cluster, &broker);
    let commands = |role: &str| {
        let output = cluster.output(&["log", "check", "--role", role]);
        let (told, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("Findings:") || output.status.success(), "{said}");
        told.lines().filter(|line| line.contains("kafka-acls")).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut placed = None;
    for role in ["intake", "fulfilment", "tracking"] {
        grant(&broker, &["--take-all"]);
        let mut given = BTreeSet::new();
        eventually(&format!("the rights of {role}"), async || {
            let lacking: Vec<_> = commands(role).iter().flat_map(|command| rights(command)).collect();
            if lacking.is_empty() {
                return Ok(());
            }
            grant(&broker, &["--allow"].into_iter().chain(lacking.iter().map(String::as_str)).collect::<Vec<_>>());
            given.extend(lacking.clone());
            Err(format!("{lacking:?}"))
        })
        .await;
        let orders = format!("TOPIC:{}:", cluster.setting("topics.orders"));
        assert_eq!(given.contains(&format!("{orders}WRITE")), role != "fulfilment", "{role}: {given:?}");
        assert_eq!(given.contains(&format!("{orders}READ")), role == "fulfilment", "{role}: {given:?}");

        let process = cluster.start(role, 0).await;
        match role {
            "intake" => placed = Some(place(&process, "ana@example.org").await),
            "fulfilment" => {
                let log = open(broker.options());
                eventually("the states", async || {
                    let states = cluster.setting("topics.states");
                    let partitions = log.topic(states).map_err(|e| e.to_string())?.expect("the topic").partitions.len();
                    let read =
                        (0..partitions as u32).map(|partition| read_all(&log, &part(states, partition), 0).len());
                    let count: usize = read.sum();
                    if count == 4 { Ok(()) } else { Err(format!("{count} states")) }
                })
                .await;
            }
            _ => drop(finished(&process, &placed.as_ref().expect("an order")["orderid"]).await),
        }
        let said = std::fs::read_to_string(cluster.log_of(role, 0)).unwrap();
        assert!(process.terminate().success(), "{said}");
        assert!(!said.to_lowercase().contains("authoriz"), "{role}: {said}");
    }
}
