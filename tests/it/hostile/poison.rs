//! What strangers might write to our topics: random bytes, and forgeries of what we write ourselves.

/// A record as a stranger writes it.
#[derive(Debug, Clone)]
pub struct Poison {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub at: i64,
}

/// Random numbers that are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }
}

const ORDER: &str = r#"{"orderid": 4000000, "gameid": "1010", "name": "Pokémon", "price": "7.99", "usermail": "eva@example.org", "lang": "es", "placed_at": "2026-01-31T12:00:00.000Z", "handle": "00"}"#;
const EVENT: &str = r#"{"orderid": 5000000, "gameid": "1010", "name": "Pokémon", "price": "7.99", "usermail": "eva@example.org", "estado": "preparando", "seq": 2, "at": "2026-01-31T12:00:00.000Z", "next_at": "9999-12-31T12:00:00.000Z"}"#;
const NAMES: [&str; 12] = [
    "dead.topic",
    "dead.partition",
    "dead.offset",
    "dead.reason",
    "dead.attempts",
    "dead.cut",
    "dead.run",
    "dead.pointer",
    "traceparent",
    "encargo_seal",
    "ce_id",
    "",
];
const VALUES: [&str; 13] = [
    "strange",
    "0-18446744073709551615",
    "0",
    "7",
    "-1",
    "2147483647",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "a\0b",
    "..",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "\u{202e}eva@example.org",
];
#[cfg(feature = "kafka")]
const TIMES: [i64; 8] = [i64::MIN, -62_167_219_200_001, -2, -1, 0, 1, 253_402_300_800_000, i64::MAX];

/// The next record, a large one once in a while.
pub fn poison(random: &mut Random, now: i64) -> Poison {
    let value = match random.below(2_000) {
        0 => Some(large(random)),
        1..=299 => None,
        300..=999 => Some(random.bytes(60)),
        1_000..=1_099 => Some(nested(random)),
        1_100..=1_549 => Some(damaged(random, ORDER)),
        _ => Some(damaged(random, EVENT)),
    };
    let key = match random.below(4) {
        0 => None,
        1 => Some(random.bytes(20)),
        2 => Some((4_000_000 + random.below(9)).to_string().into_bytes()),
        _ => Some(Vec::new()),
    };
    let headers = (0..random.below(12).saturating_sub(7)).map(|_| header(random)).collect();
    Poison { key, value, headers, at: now }
}

/// The same at a strange time.
#[cfg(feature = "kafka")]
pub fn out_of_time(random: &mut Random) -> Poison {
    let at = *random.pick(&TIMES);
    Poison { at, ..poison(random, at) }
}

fn header(random: &mut Random) -> (Vec<u8>, Option<Vec<u8>>) {
    let name = if random.below(2) == 0 { random.bytes(9) } else { random.pick(&NAMES).as_bytes().to_vec() };
    let value = match random.below(3) {
        0 => None,
        1 => Some(random.bytes(30)),
        _ => Some(random.pick(&VALUES).as_bytes().to_vec()),
    };
    (name, value)
}

/// As large as a broker takes, or nearly.
fn large(random: &mut Random) -> Vec<u8> {
    vec![random.next() as u8; *random.pick(&[70_000, 500_000, 990_000, 1_048_000])]
}

fn nested(random: &mut Random) -> Vec<u8> {
    let open = *random.pick(&["[", "{\"a\":", "[{\"orderid\":"]);
    open.repeat(random.below(3_000)).into_bytes()
}

/// JSON of ours with another id, and something wrong in most of them.
fn damaged(random: &mut Random, text: &str) -> Vec<u8> {
    let mut text = text.replace("000000", &format!("{:06}", random.below(1_000_000)));
    if random.below(4) == 0 {
        let (field, value) = *random.pick(&[
            ("\"7.99\"", "7.99"),
            ("\"7.99\"", "\"-7,99\""),
            ("Pokémon", "\\ud800"),
            ("Pokémon", "a\\u0000b"),
            ("eva@example.org", "eva"),
            ("\"orderid\": ", "\"orderid\": 9"),
            ("\"orderid\": ", "\"orderid\": -"),
            ("\"orderid\": ", "\"orderid\": 1e"),
            ("preparando", "\u{202e}odnaraperp"),
            ("preparando", ""),
            ("\"seq\": 2", "\"seq\": 0"),
            ("\"seq\": 2", "\"seq\": 256"),
            ("2026-01-31T12", "-009999-01-01T00"),
        ]);
        text = text.replace(field, value);
        return text.into_bytes();
    }
    let mut bytes = text.into_bytes();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, *random.pick(b"{}[]\":,0\\")),
        }
    }
    bytes
}
