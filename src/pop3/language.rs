//! What replies say to people, in each language (RFC 6856, section 3). Everything that a program reads stays as it is: `+OK`,
//! response codes, numbers.
//!
//! A phrase is a row of the table below, with a text for every language: what has no translation does not compile.

use popward_proto::monitor_front::Language;

/// The language of this range (RFC 4647, section 2.1): looked up by its first subtag, since no language here has more than one.
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

/// What a language calls itself.
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
        /// Something that a reply says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Phrase {
            $($(#[$doc])* $name,)*
        }

        impl Phrase {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The response code with the space behind it (RFC 2449, section 8; RFC 3206; RFC 6856, section 5), or nothing.
            pub(super) fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// Its text. Each `{}` is a number.
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
    /// To USER.
    Password ""
        "password?"
        "Passwort?"
        "mot de passe ?"
        "¿contraseña?"
    /// USER and PASS are not permitted here. As the two below, "an attempt to authenticate in violation of policy" (RFC 3206,
    /// section 5).
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
    /// APOP is not.
    NoApop "[AUTH] "
        "APOP is not taken here"
        "APOP wird hier nicht angenommen"
        "APOP n'est pas accepté ici"
        "APOP no se acepta aquí"
    /// To STLS.
    BeginTls ""
        "begin TLS"
        "TLS kann beginnen"
        "TLS peut commencer"
        "puede comenzar TLS"
    /// To STLS, when it is not needed.
    TlsActive ""
        "TLS is active"
        "TLS ist schon aktiv"
        "TLS est déjà actif"
        "TLS ya está activo"
    /// To STLS, where there is none.
    NoTls ""
        "there is no TLS here"
        "hier gibt es kein TLS"
        "TLS n'est pas disponible ici"
        "aquí no hay TLS"
    /// To AUTH alone.
    Mechanisms ""
        "mechanisms"
        "Verfahren"
        "mécanismes"
        "mecanismos"
    /// To AUTH with another.
    NoSuchMechanism ""
        "no such mechanism here"
        "dieses Verfahren gibt es hier nicht"
        "ce mécanisme n'est pas disponible ici"
        "ese mecanismo no está disponible aquí"
    /// An initial response to a mechanism that has none.
    ServerBegins ""
        "this mechanism begins with the server"
        "bei diesem Verfahren beginnt der Server"
        "avec ce mécanisme, c'est le serveur qui commence"
        "en este mecanismo comienza el servidor"
    /// The client gave up.
    Cancelled ""
        "cancelled"
        "abgebrochen"
        "annulé"
        "cancelado"
    /// A message of AUTH that is none.
    NotBase64 ""
        "not base64"
        "kein base64"
        "pas du base64"
        "no es base64"
    /// A message of AUTH that is none of its mechanism's.
    NotOfTheMechanism ""
        "not what the mechanism says"
        "nicht, was das Verfahren vorsieht"
        "pas ce que prévoit le mécanisme"
        "no es lo que prevé el mecanismo"
    /// A command of the TRANSACTION state came too soon.
    NotBeforeLogin ""
        "not before a login"
        "nicht vor der Anmeldung"
        "pas avant la connexion"
        "no antes de iniciar la sesión"
    /// PASS came first.
    UserFirst ""
        "USER first"
        "zuerst USER"
        "d'abord USER"
        "primero USER"
    /// A command of the AUTHORIZATION state came too late.
    LoggedIn ""
        "already logged in"
        "schon angemeldet"
        "déjà connecté"
        "la sesión ya está iniciada"
    /// Auth refused.
    WrongPassword "[AUTH] "
        "user name or password wrong"
        "Benutzername oder Passwort falsch"
        "nom d'utilisateur ou mot de passe incorrect"
        "nombre de usuario o contraseña incorrectos"
    /// Auth could not say.
    NoLoginNow "[SYS/TEMP] "
        "cannot log in now"
        "Anmeldung jetzt nicht möglich"
        "connexion impossible pour le moment"
        "no se puede iniciar la sesión ahora"
    /// `limits.login` has passed. Mail readers show it to somebody who took long to type a password.
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
    /// There is no worker.
    NotOpenedNow "[SYS/TEMP] "
        "cannot open the maildrop now"
        "das Postfach kann jetzt nicht geöffnet werden"
        "impossible d'ouvrir la boîte pour le moment"
        "no se puede abrir el buzón ahora"
    /// The worker could not open it, and may be able to later.
    CannotBeOpenedNow "[SYS/TEMP] "
        "the maildrop cannot be opened now"
        "das Postfach lässt sich jetzt nicht öffnen"
        "la boîte ne peut pas être ouverte pour le moment"
        "el buzón no se puede abrir ahora"
    /// The worker could not open it, and somebody has to mend it.
    CannotBeOpened "[SYS/PERM] "
        "the maildrop cannot be opened"
        "das Postfach lässt sich nicht öffnen"
        "la boîte ne peut pas être ouverte"
        "el buzón no se puede abrir"
    /// Its locks are others'.
    InUse "[IN-USE] "
        "the maildrop is locked by another session or program"
        "das Postfach ist von einer anderen Sitzung oder einem anderen Programm gesperrt"
        "la boîte est verrouillée par une autre session ou un autre programme"
        "el buzón está bloqueado por otra sesión u otro programa"
    /// To PASS: messages, octets.
    Opened ""
        "{} messages, {} octets"
        "{} Nachrichten, {} Oktette"
        "{} messages, {} octets"
        "{} mensajes, {} octetos"
    /// Before a listing.
    Messages ""
        "{} messages"
        "{} Nachrichten"
        "{} messages"
        "{} mensajes"
    /// Before a message.
    Octets ""
        "{} octets"
        "{} Oktette"
        "{} octets"
        "{} octetos"
    /// To DELE.
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
    /// It was marked as deleted.
    IsDeleted ""
        "message is deleted"
        "die Nachricht ist gelöscht"
        "le message est supprimé"
        "el mensaje está borrado"
    /// To NOOP.
    NothingDone ""
        "nothing done"
        "nichts getan"
        "rien n'a été fait"
        "no se hizo nada"
    /// To CAPA.
    Capabilities ""
        "capabilities"
        "Fähigkeiten"
        "capacités"
        "capacidades"
    /// A line that is no command.
    UnknownCommand ""
        "unknown command"
        "unbekannter Befehl"
        "commande inconnue"
        "orden desconocida"
    /// A command without what belongs to it.
    BadArguments ""
        "bad arguments"
        "falsche Argumente"
        "arguments incorrects"
        "argumentos incorrectos"
    /// A line that is too long.
    LineTooLong ""
        "line too long"
        "Zeile zu lang"
        "ligne trop longue"
        "línea demasiado larga"
    /// The last of too many.
    TooManyBadCommands ""
        "too many bad commands"
        "zu viele falsche Befehle"
        "trop de commandes incorrectes"
        "demasiadas órdenes incorrectas"
    /// To UTF8.
    Utf8 ""
        "UTF-8 from here on"
        "ab hier UTF-8"
        "UTF-8 à partir d'ici"
        "UTF-8 a partir de aquí"
    /// To LANG without a language.
    Languages ""
        "languages"
        "Sprachen"
        "langues"
        "idiomas"
    /// To LANG with one.
    LanguageChosen ""
        "language chosen"
        "Sprache gewählt"
        "langue choisie"
        "idioma elegido"
    /// To LANG with another.
    NoSuchLanguage ""
        "no such language"
        "keine solche Sprache"
        "cette langue n'est pas proposée"
        "ese idioma no está disponible"
    /// To QUIT.
    SigningOff ""
        "signing off"
        "meldet sich ab"
        "vous dit au revoir"
        "se despide"
    /// To QUIT, when nothing was done.
    NotRemoved "[SYS/TEMP] "
        "deleted messages not removed"
        "gelöschte Nachrichten wurden nicht entfernt"
        "les messages supprimés n'ont pas été retirés"
        "los mensajes borrados no se eliminaron"
    /// The worker has gone.
    BrokenOff "[SYS/TEMP] "
        "the session was broken off"
        "die Sitzung wurde abgebrochen"
        "la session a été interrompue"
        "la sesión se interrumpió"
}

#[cfg(test)]
mod tests;
