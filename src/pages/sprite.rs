use std::{collections::BTreeSet, sync::LazyLock};

/// Where a page gets its symbols.
const MARKER: &str = "<!--sprite-->";
const SPRITE: &str = include_str!("assets/sprite.svg");

/// Each symbol by its name, in the order of the sprite: one line each.
static SYMBOLS: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let lines = SPRITE.lines().filter(|line| line.starts_with("<symbol") || line.starts_with("<path"));
    lines.filter_map(|line| Some((between(line, " id=\"")?, line))).collect()
});

/// Puts the symbols that a page uses into it, and no others.
pub(super) fn embed(page: &str) -> String {
    let Some((before, after)) = page.split_once(MARKER) else { return page.to_owned() };
    let mut used = BTreeSet::new();
    let mut texts = vec![page];
    while let Some(text) = texts.pop() {
        for (at, found) in text.match_indices("href=\"#") {
            let name = text[at + found.len()..].split('"').next().unwrap_or_default();
            if let Some((name, symbol)) = SYMBOLS.iter().find(|(known, _)| *known == name)
                && used.insert(*name)
            {
                texts.push(symbol); // which may use others
            }
        }
    }
    let mut whole = String::with_capacity(page.len() + 4_096);
    whole.push_str(before);
    // also when it is empty: a script may put another one in its place
    whole.push_str("<svg class=\"sprite\" id=\"sprite\" aria-hidden=\"true\">");
    for (_, symbol) in SYMBOLS.iter().filter(|(name, _)| used.contains(name)) {
        whole.push_str(symbol);
    }
    whole.push_str("</svg>");
    whole.push_str(after);
    whole
}

fn between<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_used_is_embedded_with_what_that_uses() {
        let page = embed("<!--sprite--><use href=\"#s2\"/><a href=\"#main\">x</a><use href=\"#i-clock\"/>");
        for (symbol, is_there) in [("s2", true), ("pt", true), ("i-clock", true), ("s1", false), ("b0", false)] {
            assert_eq!(page.contains(&format!("id=\"{symbol}\"")), is_there, "{symbol}: {page}");
        }
        assert_eq!(SYMBOLS.len(), SPRITE.matches("<symbol").count() + 1);
    }
}
