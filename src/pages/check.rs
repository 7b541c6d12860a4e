//! What must hold of every page, whatever it shows.

/// What is wrong with a page: anything inline, anything from elsewhere, anything unfinished.
pub fn flaws(html: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    let lower = html.to_ascii_lowercase();
    for wrong in ["style=", "<style", "javascript:", "<!--", "{{", "{%", "undefined", "http-equiv=\"content-security"] {
        if lower.contains(wrong) {
            flaws.push(format!("has {wrong}"));
        }
    }
    for tag in tags(html) {
        if tag.starts_with("<script") && !tag.starts_with("<script type=\"module\" src=\"/assets/") {
            flaws.push(format!("a script of elsewhere or inline: {tag}"));
        }
        // what stands between quotes is text
        let mut bare = tag.split('"').step_by(2).flat_map(str::split_ascii_whitespace);
        if bare.any(|name| name.starts_with("on") && name.ends_with('=')) {
            flaws.push(format!("a handler: {tag}"));
        }
        let loads = ["<script", "<link", "<img", "<iframe", "<use", "<image", "<source"]
            .iter()
            .any(|load| tag.starts_with(load));
        if loads && (tag.contains("=\"http") || tag.contains("=\"//")) {
            flaws.push(format!("loads from elsewhere: {tag}"));
        }
    }
    for needed in ["<!DOCTYPE html>", "<html lang=\"", "<title>", "id=\"main\"", "<h1", "</html>"] {
        if !html.contains(needed) {
            flaws.push(format!("lacks {needed}"));
        }
    }
    let mut ids: Vec<_> =
        html.match_indices(" id=\"").filter_map(|(at, found)| html[at + found.len()..].split('"').next()).collect();
    ids.sort_unstable();
    flaws.extend(ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("two have the id {}", pair[0])));
    let used = html.match_indices("href=\"#").filter_map(|(at, found)| html[at + found.len()..].split('"').next());
    flaws.extend(used.filter(|used| ids.binary_search(used).is_err()).map(|used| format!("nothing has the id {used}")));
    flaws
}

fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.match_indices('<').filter_map(|(at, _)| html[at..].split('>').next())
}

#[test]
fn these_checks_can_object() {
    let page = "<!DOCTYPE html><html lang=\"es\"><title>x</title><main id=\"main\"><h1>x</h1></main></html>";
    assert_eq!(flaws(page), Vec::<String>::new());
    for (wrong, word) in [
        ("<p style=\"x\">", "style="),
        ("<script>x</script>", "a script"),
        ("<script src=\"https://example.org/x.js\"></script>", "a script"),
        ("<a onclick=\"x\">", "a handler"),
        ("<img src=\"//example.org/x.png\">", "loads from elsewhere"),
        ("<i id=\"main\">", "two have the id"),
        ("<use href=\"#none\"/>", "nothing has the id"),
    ] {
        let found = flaws(&page.replace("</main>", &format!("{wrong}</main>")));
        assert!(found.iter().any(|flaw| flaw.contains(word)), "{wrong}: {found:?}");
    }
    assert!(flaws("<h1>").len() > 3);
}
