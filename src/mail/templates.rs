//! The templates: built in, each overridable by a file of the same name in a folder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, syntax::SyntaxConfig};

use super::{Error, Result};
use crate::{
    domain::{Flow, Lang},
    files,
};

/// The names of the templates for states that have none of their own, for the ends of cancelled and of refused orders among
/// them.
pub(super) const GENERIC: &str = "generic";
pub(super) const CANCELLED: &str = "cancelado";
pub(super) const REFUSED: &str = "rechazado";
const LAYOUTS: [&str; 2] = ["layout.html", "layout.txt"];
/// A template larger than this is a mistake.
const SIZE_MAX: u64 = 256 << 10;

macro_rules! built_in {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("templates/", $name)))),*] };
}

const BUILT_IN: [(&str, &str); 50] = built_in! {
    "layout.html" "layout.txt"
    "es/recibido.subject" "es/recibido.txt" "es/recibido.html"
    "es/preparando.subject" "es/preparando.txt" "es/preparando.html"
    "es/entregando.subject" "es/entregando.txt" "es/entregando.html"
    "es/finalizado.subject" "es/finalizado.txt" "es/finalizado.html"
    "es/cancelado.subject" "es/cancelado.txt" "es/cancelado.html"
    "es/rechazado.subject" "es/rechazado.txt" "es/rechazado.html"
    "es/enlace.subject" "es/enlace.txt" "es/enlace.html"
    "es/generic.subject" "es/generic.txt" "es/generic.html"
    "en/recibido.subject" "en/recibido.txt" "en/recibido.html"
    "en/preparando.subject" "en/preparando.txt" "en/preparando.html"
    "en/entregando.subject" "en/entregando.txt" "en/entregando.html"
    "en/finalizado.subject" "en/finalizado.txt" "en/finalizado.html"
    "en/cancelado.subject" "en/cancelado.txt" "en/cancelado.html"
    "en/rechazado.subject" "en/rechazado.txt" "en/rechazado.html"
    "en/enlace.subject" "en/enlace.txt" "en/enlace.html"
    "en/generic.subject" "en/generic.txt" "en/generic.html"
};

/// Checks a flow by what is built in and what a folder adds: a template that it names has to be there. Returns the states that
/// are mailed with the generic text, since none is called like them.
pub fn check_templates(flow: &Flow, folder: Option<&Path>) -> Result<Vec<String>> {
    let templates = Templates::load(folder)?;
    templates.require(flow)?;
    let known: BTreeSet<&str> = templates.states().collect();
    // the ends of cancelled and refused orders have a text of their own besides
    let untold =
        flow.steps().iter().filter(|step| step.mail.as_ref() == Some(&step.state) && !known.contains(&*step.state));
    Ok(untold.map(|step| step.state.to_string()).collect())
}

/// All templates, parsed.
pub(super) struct Templates {
    env: Environment<'static>,
    /// Those that only say what they are given, and look at nothing but whether that is there.
    plain: HashSet<String>,
    languages: [Language; Lang::ALL.len()],
}

/// The template names of one language.
struct Language {
    states: HashMap<Box<str>, Names>,
    generic: Names,
}

/// The template names of one state in one language.
#[derive(Debug, Clone)]
struct Names {
    subject: String,
    text: String,
    html: String,
}

/// One rendered mail.
pub(super) struct Rendered {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

impl Templates {
    /// Parses what is built in, and what a folder overrides.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
        let mut sources: BTreeMap<String, String> =
            BUILT_IN.into_iter().map(|(name, source)| (name.to_owned(), source.to_owned())).collect();
        if let Some(folder) = folder {
            overlay(folder, &mut sources)?;
        }
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build();
        env.set_syntax(syntax.expect("the default delimiters"));
        env.set_undefined_behavior(UndefinedBehavior::Strict); // a misspelt name is an error at the start
        env.set_auto_escape_callback(|name| match name.rsplit_once('.') {
            Some((_, "html")) => AutoEscape::Html,
            _ => AutoEscape::None,
        });
        let mut languages =
            Lang::ALL.map(|lang| Language { states: HashMap::new(), generic: Names::of(lang, GENERIC) });
        let plain = sources.iter().filter(|(_, source)| is_plain(source)).map(|(name, _)| name.clone()).collect();
        for (name, source) in sources {
            if let Some((lang, state)) = parse_name(&name) {
                // a state may override some of its three, the others are then the generic ones
                let Language { states, generic } = &mut languages[lang as usize];
                states.entry(state.into()).or_insert_with(|| generic.clone()).set(&name);
            }
            env.add_template_owned(name.clone(), source).map_err(|e| broken(&name, &e))?;
        }
        Ok(Self { env, plain, languages })
    }

    /// Renders subject, text and HTML, of the first of these templates that is there, else of the generic one.
    pub(super) fn render(&self, lang: Lang, templates: [&str; 2], values: &Value) -> Result<Rendered> {
        let names = self.names(lang, templates);
        let render = |name: &str| {
            let template = self.env.get_template(name).map_err(|e| broken(name, &e))?;
            template.render(values.clone()).map_err(|e| broken(name, &e))
        };
        Ok(Rendered { subject: render(&names.subject)?, text: render(&names.text)?, html: render(&names.html)? })
    }

    /// Whether what [`Self::render`] makes of values is the same text around them whatever they are, as long as they are there.
    pub(super) fn are_plain(&self, lang: Lang, templates: [&str; 2]) -> bool {
        let Names { subject, text, html } = self.names(lang, templates);
        let all = [subject, text, html].into_iter().map(String::as_str).chain(LAYOUTS);
        all.into_iter().all(|name| self.plain.contains(name))
    }

    fn names(&self, lang: Lang, templates: [&str; 2]) -> &Names {
        let Language { states, generic } = &self.languages[lang as usize];
        templates.into_iter().find_map(|template| states.get(template)).unwrap_or(generic)
    }

    /// A state without a template of its own is told in general words; a template that a flow names has to be there.
    pub(super) fn require(&self, flow: &Flow) -> Result<()> {
        let mut own = flow.mails().filter(|(state, template)| state != template);
        let known: BTreeSet<&str> = self.states().chain([GENERIC]).collect();
        let Some((state, template)) = own.find(|(_, template)| !known.contains(template)) else { return Ok(()) };
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Err(Error::Settings(format!(
            "the flow {} mails {state} with the template {template:?}, which is not there: there are {known}; put \
             es/{template}.txt and its like into the folder of mail.templates, or let the flow name another",
            flow.name()
        )))
    }

    /// The states that have templates of their own in some language.
    pub(super) fn states(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().flat_map(|language| language.states.keys()).map(|state| &**state)
    }
}

impl Names {
    fn of(lang: Lang, state: &str) -> Self {
        let name = |kind| format!("{lang}/{state}.{kind}");
        Self { subject: name("subject"), text: name("txt"), html: name("html") }
    }

    fn set(&mut self, name: &str) {
        let place = match name.rsplit_once('.') {
            Some((_, "subject")) => &mut self.subject,
            Some((_, "txt")) => &mut self.text,
            _ => &mut self.html,
        };
        name.clone_into(place);
    }
}

/// What a plain template may ask of; the rest of what it is given it can only say.
const ASKED: [&str; 6] = ["next_label", "next_time", "track", "steps", "step.now", "step.ahead"];

/// Whether a template consists of blocks, of names, and of questions whether something is there: no filter, no
/// comparison, nothing that could depend on a value's letters.
fn is_plain(source: &str) -> bool {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'));
    let is_plain_tag = |tag: &str| match tag.split_whitespace().collect::<Vec<_>>()[..] {
        ["extends", layout] => LAYOUTS.iter().any(|known| layout.trim_matches('"') == *known),
        ["block" | "endblock", name] => is_name(name),
        ["if", name] => ASKED.contains(&name),
        ["for", "step", "in", "steps"] | ["else" | "endif" | "endfor" | "endblock"] => true,
        _ => false,
    };
    let mut rest = source;
    while let Some((_, tag)) = rest.split_once('{') {
        let (is_plain, after) = match tag.as_bytes().first() {
            Some(b'{') => tag[1..].split_once("}}").map_or((false, ""), |(name, after)| (is_name(name.trim()), after)),
            Some(b'%') => tag[1..].split_once("%}").map_or((false, ""), |(tag, after)| (is_plain_tag(tag), after)),
            Some(b'#') => (false, ""),
            _ => (true, tag),
        };
        if !is_plain {
            return false;
        }
        rest = after;
    }
    true
}

/// Language and state of a template's name, `es/recibido.html`.
fn parse_name(name: &str) -> Option<(Lang, &str)> {
    let (lang, file) = name.split_once('/')?;
    let (state, kind) = file.rsplit_once('.')?;
    let known = matches!(kind, "subject" | "txt" | "html") && !state.is_empty() && !state.contains('/');
    Some((lang.parse().ok().filter(|_| known)?, state))
}

/// Puts a folder's files over the built-in ones. Any other file there is refused: it would be silently without effect.
fn overlay(folder: &Path, sources: &mut BTreeMap<String, String>) -> Result<()> {
    for (path, name) in files(folder, "")? {
        if parse_name(&name).is_none() && !LAYOUTS.contains(&&*name) {
            let problem = "is no template: they are called es/STATE.subject, es/STATE.txt, es/STATE.html (or en/…; \
                           STATE can be \"generic\"), layout.html and layout.txt";
            return Err(Error::Template { name: path.display().to_string(), problem: problem.into() });
        }
        let source = files::read_text(&path, SIZE_MAX)
            .map_err(|source| Error::Path { path: path.display().to_string(), source })?;
        sources.insert(name, as_written(&source));
    }
    Ok(())
}

/// Without what editors on other systems add: a mark at the beginning, and carriage returns at the ends of lines.
fn as_written(source: &str) -> String {
    source.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n")
}

/// Files of a folder and of its folders one level down, but for hidden ones, with their names relative to it.
fn files(folder: &Path, prefix: &str) -> Result<Vec<(std::path::PathBuf, String)>> {
    let failed = |source| Error::Path { path: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if prefix.is_empty() && entry.path().is_dir() {
            found.extend(files(&entry.path(), &format!("{name}/"))?);
        } else {
            found.push((entry.path(), format!("{prefix}{name}")));
        }
    }
    Ok(found)
}

fn broken(name: &str, error: &minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    let part = error.name().filter(|part| *part != name).map(|part| format!(" in {part}")).unwrap_or_default();
    Error::Template { name: name.to_owned(), problem: format!("{error}{part}{line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, source) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, source).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_overrides_single_templates() {
        let folder = folder(&[("es/recibido.subject", "Hola {{ order }}"), ("en/cooking.txt", "Hot: {{ order }}")]);
        let templates = Templates::load(Some(folder.path())).unwrap();
        assert_eq!(templates.names(Lang::Es, ["recibido", GENERIC]).subject, "es/recibido.subject");
        assert_eq!(templates.env.get_template("es/recibido.subject").unwrap().source(), "Hola {{ order }}");
        let cooking = templates.names(Lang::En, ["cooking", GENERIC]);
        assert_eq!((&*cooking.text, &*cooking.html), ("en/cooking.txt", "en/generic.html"));
        assert_eq!(templates.names(Lang::Es, ["cooking", GENERIC]).text, "es/generic.txt");
        assert_eq!(templates.names(Lang::Es, ["../en/recibido", GENERIC]).text, "es/generic.txt");
    }

    #[test]
    fn what_is_built_in_is_plain_and_what_looks_at_a_value_is_not() {
        for (name, source) in BUILT_IN {
            assert!(is_plain(source), "{name}");
        }
        for source in [
            "{{ price|replace('.', ',') }}",
            "{{ price ~ order }}",
            "{% if order %}x{% endif %}",
            "{% if next_time == 'x' %}x{% endif %}",
            "{% set x = price %}",
            "{% extends \"other.html\" %}",
            "{# {{ price }} #}",
            "{%- if track -%}x{% endif %}",
            "{{ price",
        ] {
            assert!(!is_plain(source), "{source}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_no_part_of_a_template() {
        for source in ["\u{feff}Hola,\r\n{{ order }}\r\n", "\u{feff}Hola,\r{{ order }}\r", "Hola,\n{{ order }}\n"] {
            let templates = Templates::load(Some(folder(&[("es/recibido.txt", source)]).path())).unwrap();
            assert_eq!(templates.env.get_template("es/recibido.txt").unwrap().source(), "Hola,\n{{ order }}\n");
        }
    }

    #[test]
    fn what_would_have_no_effect_or_is_broken_is_refused_by_name() {
        for (file, source, expected) in [
            ("recibido.html", "", "recibido.html: is no template"),
            ("de/recibido.html", "", "de/recibido.html: is no template"),
            ("es/recibido.htm", "", "es/recibido.htm: is no template"),
            ("es/recibido.html", "{% if %}", "es/recibido.html: syntax error"),
        ] {
            let error = Templates::load(Some(folder(&[(file, source)]).path())).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Templates::load(Some(Path::new("/nonexistent/folder"))).is_err());
    }
}
