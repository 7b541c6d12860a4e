//! The words of the operations pages.

use std::collections::BTreeMap;

use crate::domain::Lang;

/// By the name under which a template finds them in `t`.
pub(super) fn words(lang: Lang) -> BTreeMap<&'static str, &'static str> {
    ALL.iter().map(|(name, es, en)| (*name, if lang == Lang::Es { *es } else { *en })).collect()
}

const ALL: &[(&str, &str, &str)] = &[
    // navigation
    ("mailbox", "Buzón", "Mailbox"),
    ("gallery", "Muestras", "Gallery"),
    // mailbox
    ("mailbox_lead", "Los correos que hay en", "The mails in"),
    ("search", "Buscar", "Search"),
    ("search_what", "Número de pedido o dirección", "Order number or address"),
    ("all", "Todos", "All"),
    ("time", "Hora (UTC)", "Time (UTC)"),
    ("to", "Para", "To"),
    ("from", "De", "From"),
    ("subject", "Asunto", "Subject"),
    ("no_subject", "(sin asunto)", "(no subject)"),
    ("order", "Pedido", "Order"),
    ("state", "Estado", "State"),
    ("one_mail", "correo", "mail"),
    ("mails", "correos", "mails"),
    ("of", "de", "of"),
    ("newest_only", "Solo se listan los más recientes:", "Only the newest are listed:"),
    (
        "searched_only",
        "Se ha buscado en los más recientes; busque otra vez para seguir:",
        "The newest were searched; search again to go on:",
    ),
    ("empty", "Todavía no hay correos.", "There are no mails yet."),
    ("none_found", "No hay ningún correo así.", "There is no such mail."),
    ("newer", "← Más recientes", "← Newer"),
    ("older", "Más antiguos →", "Older →"),
    ("smtp", "Los correos salen por SMTP y aquí no se guardan:", "Mails go out over SMTP and are not kept here:"),
    ("smtp_where", "Qué ha sido de cada uno se ve con", "What became of each one is told by"),
    (
        "off",
        "El correo está desactivado (none:): no se escribe a nadie.",
        "Mail is switched off (none:): nobody is written to.",
    ),
    // a mail
    ("view_html", "HTML", "HTML"),
    ("view_text", "Texto", "Text"),
    ("view_headers", "Cabeceras", "Headers"),
    ("view_source", "Fuente", "Source"),
    ("download", "Descargar", "Download"),
    ("no_such_part", "Este correo no tiene esa parte.", "This mail has no such part."),
    ("attachments", "Otras partes, que aquí no se muestran:", "Other parts, not shown here:"),
    ("cut", "Es demasiado largo: aquí solo está el principio.", "It is too long: only its beginning is here."),
    ("mails_of_order", "Todos los de este pedido", "All of this order"),
    // gallery
    (
        "gallery_lead",
        "Cada estado en cada idioma, con un pedido de muestra",
        "Every state in every language, with a sample order",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_there_twice() {
        assert_eq!(words(Lang::Es).len(), ALL.len());
    }
}
