//! The catalogue at the size of the field's: 27,075 rows.

use std::{fmt::Write, path::Path};

use encargo::catalog::Catalog;

const ROWS: usize = 27_075;

/// Made-up names of one to five words out of 9,000, some with signs that a CSV has to quote.
fn names() -> Vec<String> {
    let syllables = ["ka", "lón", "dra", "ÑU", "bí", "tor", "mé", "sha", "qui", "ven", "ö", "zar", "pe", "li", "gra"];
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut name = || {
        let word = random(9_000);
        let words = 1 + random(5);
        let mut name = String::new();
        for i in 0..words {
            let word = if i == 0 { word } else { random(9_000) };
            let [a, b, c] = [word % 15, word / 15 % 15, word / 225 % 15].map(|at| syllables[at]);
            write!(name, "{a}{b}{c}{} ", if word % 7 == 0 { "," } else { "" }).unwrap();
        }
        name + ["", "\"II\"", "™", "- ", "'s"][word % 5]
    };
    (0..ROWS).map(|_| name()).collect()
}

fn write_csv(names: &[String], path: &Path) {
    let mut text = String::from("appid,name,price\r\n");
    for (i, name) in names.iter().enumerate() {
        write!(text, "{},\"{}\",{}.99\r\n", 10 + i * 10, name.replace('"', "\"\""), i % 100).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_large_catalogue_loads_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.csv");
    let names = names();
    write_csv(&names, &path);
    let catalog = Catalog::load(&path).unwrap();
    assert_eq!(catalog.len(), ROWS);
    for (i, name) in names.iter().enumerate() {
        let product = catalog.row(i + 1).unwrap();
        assert_eq!(*product.name, **name);
        assert_eq!(catalog.by_id(&product.id), Some((i + 1, product)));
    }
}

#[test]
fn search_finds_what_a_plain_scan_finds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.csv");
    let names = names();
    write_csv(&names, &path);
    let catalog = Catalog::load(&path).unwrap();
    let fold = |c: char| match c {
        'í' => 'i',
        'é' => 'e',
        'ó' | 'ö' => 'o',
        'Ñ' | 'ñ' => 'n',
        c => c.to_ascii_lowercase(),
    };
    for query in ["kalondra", "nu ka", "tor mebi", "ii", "gra"] {
        let has = |name: &str| {
            let plain: String = name.chars().filter(|c| *c != '\'').map(fold).collect();
            let words: Vec<&str> = plain.split(|c: char| !c.is_alphanumeric()).collect();
            query.split(' ').all(|wanted| words.iter().any(|word| word.starts_with(wanted)))
        };
        let expected: Vec<usize> = (1..=ROWS).filter(|row| has(&names[row - 1])).collect();
        let mut found: Vec<usize> = catalog.search(query, ROWS).into_iter().map(|(row, _)| row).collect();
        found.sort_unstable();
        assert!(!expected.is_empty(), "{query:?} tests nothing");
        assert_eq!(found, expected, "{query:?}");
    }
}
