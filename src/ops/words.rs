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
    ("ledger", "Libro de correos", "Ledger"),
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
    // ledger
    ("ledger_lead", "Qué ha sido de cada correo.", "What became of every mail."),
    ("count", "Correos", "Mails"),
    ("status_pending", "Pendiente", "Pending"),
    ("status_sending", "Enviándose", "Sending"),
    ("status_sent", "Enviado", "Sent"),
    ("status_dead", "Rechazado", "Dead"),
    ("status_dropped", "Descartado", "Dropped"),
    ("oldest", "El más antiguo por enviar", "Oldest unsettled"),
    ("repeated", "Posibles repetidos", "Possible repeats"),
    ("suppressed", "Direcciones suprimidas", "Suppressed addresses"),
    ("dead_records", "Registros ilegibles", "Poison records"),
    ("destination", "Destino", "Destination"),
    ("relay_working", "funciona", "working"),
    ("relay_returning", "está volviendo", "returning"),
    ("relay_paused", "no responde", "paused"),
    ("relay_denied", "nos rechaza", "denied"),
    ("relay_slowed", "más despacio", "slowed down"),
    ("reason", "Motivo", "Reason"),
    ("reasons", "Motivos", "Reasons"),
    ("since", "Desde (UTC)", "Since (UTC)"),
    ("next_try", "Próximo intento (UTC)", "Next try (UTC)"),
    ("failures", "Fallos", "Failures"),
    ("tries", "Intentos", "Tries"),
    ("mail_status", "Correo", "Mail"),
    ("waiting", "En espera", "Waiting"),
    ("nothing_waits", "No espera ningún correo.", "No mail waits."),
    ("ambiguous", "quizá ya llegó", "may have arrived"),
    ("now", "ya", "now"),
    ("dead", "Rechazados e ilegibles", "Dead letters"),
    ("nothing_dead", "No hay ninguno.", "There are none."),
    ("dead_what_now", "Para volver a intentarlo o dejarlo:", "To try again, or to give up:"),
    ("address", "Dirección", "Address"),
    ("nobody_suppressed", "No hay ninguna.", "There are none."),
    (
        "suppressed_what_now",
        "No reciben más correos. Para volver a escribirles:",
        "They get no mail any more. To write to them again:",
    ),
    ("class_deferred", "aplazado por el servidor", "deferred by the server"),
    ("class_held", "rechazado; espera a que se acepten otros", "refused; waits until others are taken"),
    ("class_unreachable", "servidor inaccesible", "server unreachable"),
    ("class_unanswered", "sin respuesta", "no answer"),
    ("class_stopped", "devuelto sin intentarlo", "given back untried"),
    ("class_address", "dirección rechazada", "address refused"),
    ("class_suppressed", "dirección suprimida", "address suppressed"),
    ("class_refused", "correo rechazado", "mail refused"),
    ("class_expired", "fuera de plazo", "past its deadline"),
    ("class_composing", "no se pudo redactar", "could not be composed"),
    ("class_cancelled", "pedido cancelado", "order cancelled"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::{Class, MailStatus};

    #[test]
    fn no_word_is_there_twice() {
        assert_eq!(words(Lang::Es).len(), ALL.len());
    }

    #[test]
    fn every_status_and_class_has_a_word() {
        let words = words(Lang::En);
        for status in MailStatus::ALL {
            assert!(words.contains_key(&*format!("status_{}", status.name())), "{status:?}");
        }
        for class in Class::ALL {
            assert!(words.contains_key(&*format!("class_{}", class.name())), "{class:?}");
        }
    }
}
