//! The texts of replies in each language (RFC 6856, section 3). LANG changes only what people read.
//! `+OK`, response codes and numbers stay the same, because programs read them.
//!
//! A phrase is a row of the table below, with a text in every language. A missing translation does
//! not compile.

use popward_proto::monitor_front::Language;

/// Finds the language of a range (RFC 4647, section 2.1). Only the first subtag counts, because no
/// language here has more than one. `None`: no such language, or the range is not well-formed.
pub(super) fn of_range(range: &[u8]) -> Option<Language> {
    let mut subtags = range.split(|byte| *byte == b'-');
    let first = subtags.next()?;
    let well_formed = |subtag: &[u8]| {
        (1..=8).contains(&subtag.len()) && subtag.iter().all(u8::is_ascii_alphanumeric)
    };
    let mut all = Language::ALL.into_iter();
    let language = all.find(|language| language.tag().as_bytes().eq_ignore_ascii_case(first))?;
    subtags.all(well_formed).then_some(language)
}

/// The name of a language, in that language.
pub(super) fn own_name(language: Language) -> &'static str {
    match language {
        Language::English => "English",
        Language::German => "Deutsch",
        Language::French => "Français",
        Language::Spanish => "Español",
    }
}

macro_rules! phrases {
    ($($(#[$doc:meta])* $name:ident $code:literal $en:literal $de:literal $fr:literal $es:literal)*) => {
        /// A text of a reply.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Phrase {
            $($(#[$doc])* $name,)*
        }

        impl Phrase {
            /// All phrases.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The response code and a space (RFC 2449, section 8; RFC 3206; RFC 6856, section 5),
            /// or an empty text.
            pub(super) fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The text in `language`. Each `{}` stands for a number.
            pub(super) fn text(self, language: Language) -> &'static str {
                let (en, de, fr, es) = match self {
                    $(Self::$name => ($en, $de, $fr, $es),)*
                };
                match language {
                    Language::English => en,
                    Language::German => de,
                    Language::French => fr,
                    Language::Spanish => es,
                }
            }
        }
    };
}

phrases! {
    /// The answer to USER.
    Password ""
        "password?"
        "Passwort?"
        "mot de passe ?"
        "¿contraseña?"
    /// USER and PASS need TLS here. RFC 3206, section 5 gives `[AUTH]` for "an attempt to
    /// authenticate in violation of policy". This holds for the next two phrases too.
    TlsOnly "[AUTH] "
        "a password is taken over TLS only"
        "ein Passwort wird nur über TLS angenommen"
        "un mot de passe n'est accepté que par TLS"
        "solo se acepta una contraseña por TLS"
    /// USER and PASS are not among the configured mechanisms.
    NoUser "[AUTH] "
        "USER and PASS are not taken here"
        "USER und PASS werden hier nicht angenommen"
        "USER et PASS ne sont pas acceptés ici"
        "USER y PASS no se aceptan aquí"
    /// APOP is not among the configured mechanisms.
    NoApop "[AUTH] "
        "APOP is not taken here"
        "APOP wird hier nicht angenommen"
        "APOP n'est pas accepté ici"
        "APOP no se acepta aquí"
    /// The answer to STLS.
    BeginTls ""
        "begin TLS"
        "TLS kann beginnen"
        "TLS peut commencer"
        "puede comenzar TLS"
    /// The answer to STLS when TLS is active already.
    TlsActive ""
        "TLS is active"
        "TLS ist schon aktiv"
        "TLS est déjà actif"
        "TLS ya está activo"
    /// The answer to STLS when the front has no certificate.
    NoTls ""
        "there is no TLS here"
        "hier gibt es kein TLS"
        "TLS n'est pas disponible ici"
        "aquí no hay TLS"
    /// The answer to AUTH without a mechanism: a list follows.
    Mechanisms ""
        "mechanisms"
        "Verfahren"
        "mécanismes"
        "mecanismos"
    /// The answer to AUTH with a mechanism that is unknown or not permitted now.
    NoSuchMechanism ""
        "no such mechanism here"
        "dieses Verfahren gibt es hier nicht"
        "ce mécanisme n'est pas disponible ici"
        "ese mecanismo no está disponible aquí"
    /// The client sent an initial response, but with this mechanism the server speaks first.
    ServerBegins ""
        "this mechanism begins with the server"
        "bei diesem Verfahren beginnt der Server"
        "avec ce mécanisme, c'est le serveur qui commence"
        "en este mecanismo comienza el servidor"
    /// The client cancelled an AUTH exchange with `*`.
    Cancelled ""
        "cancelled"
        "abgebrochen"
        "annulé"
        "cancelado"
    /// A message of an AUTH exchange is not base64.
    NotBase64 ""
        "not base64"
        "kein base64"
        "pas du base64"
        "no es base64"
    /// A message of an AUTH exchange does not follow the rules of its mechanism.
    NotOfTheMechanism ""
        "not what the mechanism says"
        "nicht, was das Verfahren vorsieht"
        "pas ce que prévoit le mécanisme"
        "no es lo que prevé el mecanismo"
    /// A command of the TRANSACTION state came before the login.
    NotBeforeLogin ""
        "not before a login"
        "nicht vor der Anmeldung"
        "pas avant la connexion"
        "no antes de iniciar la sesión"
    /// PASS came without USER before it.
    UserFirst ""
        "USER first"
        "zuerst USER"
        "d'abord USER"
        "primero USER"
    /// A command of the AUTHORIZATION state came after the login.
    LoggedIn ""
        "already logged in"
        "schon angemeldet"
        "déjà connecté"
        "la sesión ya está iniciada"
    /// Auth refused the name or the password.
    WrongPassword "[AUTH] "
        "user name or password wrong"
        "Benutzername oder Passwort falsch"
        "nom d'utilisateur ou mot de passe incorrect"
        "nombre de usuario o contraseña incorrectos"
    /// Auth could not decide, for a reason that may pass.
    NoLoginNow "[SYS/TEMP] "
        "cannot log in now"
        "Anmeldung jetzt nicht möglich"
        "connexion impossible pour le moment"
        "no se puede iniciar la sesión ahora"
    /// The time limit `limits.login` has passed. Mail readers show this text to a person who typed
    /// a password slowly.
    LoginTime "[SYS/TEMP] "
        "no login in time, the connection is closed: please try again"
        "keine Anmeldung innerhalb der Frist, die Verbindung wird beendet: bitte erneut versuchen"
        "pas de connexion dans le délai imparti, la session est fermée : veuillez réessayer"
        "no se inició la sesión a tiempo, se cierra la conexión: inténtelo de nuevo"
    /// The account logged in a moment ago (RFC 2449, section 8.1.1).
    TooSoon "[LOGIN-DELAY] "
        "too soon after the last login"
        "zu früh nach der letzten Anmeldung"
        "trop tôt après la dernière connexion"
        "demasiado pronto tras el último inicio de sesión"
    /// Sessions started no worker.
    NotOpenedNow "[SYS/TEMP] "
        "cannot open the maildrop now"
        "das Postfach kann jetzt nicht geöffnet werden"
        "impossible d'ouvrir la boîte pour le moment"
        "no se puede abrir el buzón ahora"
    /// The worker could not open the maildrop. A later login may succeed.
    CannotBeOpenedNow "[SYS/TEMP] "
        "the maildrop cannot be opened now"
        "das Postfach lässt sich jetzt nicht öffnen"
        "la boîte ne peut pas être ouverte pour le moment"
        "el buzón no se puede abrir ahora"
    /// The worker could not open the maildrop. An administrator has to repair something first.
    CannotBeOpened "[SYS/PERM] "
        "the maildrop cannot be opened"
        "das Postfach lässt sich nicht öffnen"
        "la boîte ne peut pas être ouverte"
        "el buzón no se puede abrir"
    /// The session was silent, and its user logged in again (`limits.yield_to_newcomer`).
    Yielded "[IN-USE] "
        "a new login of yours has the maildrop now, nothing was deleted"
        "eine neue Anmeldung hat jetzt das Postfach, nichts wurde gelöscht"
        "une nouvelle connexion occupe maintenant la boîte, rien n'a été supprimé"
        "un nuevo inicio de sesión tiene ahora el buzón, no se borró nada"
    /// Another session or program holds the maildrop's locks.
    InUse "[IN-USE] "
        "the maildrop is locked by another session or program"
        "das Postfach ist von einer anderen Sitzung oder einem anderen Programm gesperrt"
        "la boîte est verrouillée par une autre session ou un autre programme"
        "el buzón está bloqueado por otra sesión u otro programa"
    /// The answer to a successful login: number of messages, number of octets.
    Opened ""
        "{} messages, {} octets"
        "{} Nachrichten, {} Oktette"
        "{} messages, {} octets"
        "{} mensajes, {} octetos"
    /// The first line of the answer to LIST and UIDL.
    Messages ""
        "{} messages"
        "{} Nachrichten"
        "{} messages"
        "{} mensajes"
    /// The first line of the answer to RETR and TOP.
    Octets ""
        "{} octets"
        "{} Oktette"
        "{} octets"
        "{} octetos"
    /// The answer to DELE.
    Deleted ""
        "message {} deleted"
        "Nachricht {} gelöscht"
        "message {} supprimé"
        "mensaje {} borrado"
    /// No message has this number.
    NoSuchMessage ""
        "no such message"
        "keine solche Nachricht"
        "ce message n'existe pas"
        "no existe ese mensaje"
    /// The message is marked as deleted.
    IsDeleted ""
        "message is deleted"
        "die Nachricht ist gelöscht"
        "le message est supprimé"
        "el mensaje está borrado"
    /// The answer to NOOP.
    NothingDone ""
        "nothing done"
        "nichts getan"
        "rien n'a été fait"
        "no se hizo nada"
    /// The first line of the answer to CAPA.
    Capabilities ""
        "capabilities"
        "Fähigkeiten"
        "capacités"
        "capacidades"
    /// The line is not a known command.
    UnknownCommand ""
        "unknown command"
        "unbekannter Befehl"
        "commande inconnue"
        "orden desconocida"
    /// The command's arguments are missing or wrong.
    BadArguments ""
        "bad arguments"
        "falsche Argumente"
        "arguments incorrects"
        "argumentos incorrectos"
    /// The line is too long.
    LineTooLong ""
        "line too long"
        "Zeile zu lang"
        "ligne trop longue"
        "línea demasiado larga"
    /// The client sent the last bad command that is permitted. The connection ends.
    TooManyBadCommands ""
        "too many bad commands"
        "zu viele falsche Befehle"
        "trop de commandes incorrectes"
        "demasiadas órdenes incorrectas"
    /// The answer to UTF8.
    Utf8 ""
        "UTF-8 from here on"
        "ab hier UTF-8"
        "UTF-8 à partir d'ici"
        "UTF-8 a partir de aquí"
    /// The first line of the answer to LANG without a range.
    Languages ""
        "languages"
        "Sprachen"
        "langues"
        "idiomas"
    /// The answer to LANG with a known language.
    LanguageChosen ""
        "language chosen"
        "Sprache gewählt"
        "langue choisie"
        "idioma elegido"
    /// The answer to LANG with an unknown language.
    NoSuchLanguage ""
        "no such language"
        "keine solche Sprache"
        "cette langue n'est pas proposée"
        "ese idioma no está disponible"
    /// The answer to QUIT.
    SigningOff ""
        "signing off"
        "meldet sich ab"
        "vous dit au revoir"
        "se despide"
    /// The answer to QUIT when the update failed.
    NotRemoved "[SYS/TEMP] "
        "deleted messages not removed"
        "gelöschte Nachrichten wurden nicht entfernt"
        "les messages supprimés n'ont pas été retirés"
        "los mensajes borrados no se eliminaron"
    /// The worker ended before the client said QUIT.
    BrokenOff "[SYS/TEMP] "
        "the session was broken off"
        "die Sitzung wurde abgebrochen"
        "la session a été interrompue"
        "la sesión se interrumpió"
}

#[cfg(test)]
mod tests;
