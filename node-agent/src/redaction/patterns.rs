//! How credentials look. Each pattern keeps its first group, if it has one, and loses
//! the rest; over-long is better than over-short.

use std::{borrow::Cow, sync::LazyLock};

use regex::bytes::{Regex, RegexBuilder};

use super::MARK;

/// Parts of names whose values are nobody's to read.
const PARTS: &str = r"passw(?:or)?d|pwd|secret|token|(?:api|access|private|signing|encryption|account|auth|(?:pre-?)?shared)[_-]?key|credential|sess(?:ion)?id|x-amz-signature";
/// Names that are parts of common words, too (bypass, compass): whole, or at `_`, `.`, `-`.
const WHOLE: &str =
    r"(?:db|user|root|admin|ldap|bind|smtp|mail|ftp|sql|proxy|key|store|redis|wifi)?pass|pw|psk|_auth";
/// A value in quotes, which may be escaped, with what a shell takes as more of it.
const QUOTED: &str = r#"(?:\\"(?:[^"\\\r\n]|\\[^"\\]|\\\\(?:\\.|[^\\\r\n]))*(?:\\")?|\\+"(?:[^"\\\r\n]|\\+[^"\\\r\n])*(?:\\+")?|\$?"(?:[^"\\\r\n]|\\.)*"?(?:[\w$@#%^*!+=~-][^\s"']*)?|\$?'(?:[^'\r\n]|''|'\\'')*'?(?:[\w$@#%^*!+=~-][^\s"']*)?)"#;
/// A value without: up to a space, or to the quote that ends what it stands in.
const BARE: &str = r#"(?:[^\s"'\\]|\\+[^\s"'\\]|\\*["']+[^\s"'\\,;:)\]}>])+"#;
/// The same in a query, where `&` ends it.
const QUERY: &str = r#"(?:[^\s"'\\&]|\\+[^\s"'\\&]|\\*["']+[^\s"'\\,;:)\]}>&])+"#;
/// The same after a name in quotes, as JSON has it: `,` and brackets end it.
const JSON: &str = r#"(?:[\[{][^\[\]{}\r\n]*[\]}]?|[^\s"'\\,\]}]+)"#;
/// What was taken out already.
const TAKEN: &str = r"\[redacted\]";

static BEGIN: LazyLock<Regex> = LazyLock::new(|| regex(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));
static END: LazyLock<Regex> = LazyLock::new(|| regex(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));

static ALL: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let name = format!(r"(?:[\w.-]*?(?:{PARTS})[\w.-]*|(?:[\w.-]*[_.-]|\b)(?:{WHOLE})(?:[\d_.-][\w.-]*)?)");
    let value = format!("(?:{TAKEN}|{QUOTED}|{BARE})");
    let is = r"\s*(?:=>|:=|==?|:|%3[ad])\s*";
    vec![
        // Authorization: Bearer x · "cookie":"a=b" · -H 'X-Api-Key: x'
        regex(
            r#"((?:proxy-)?authorization\\*["']?\s*[:=]\s*\\*["']?|\b(?:set-)?cookie\\*["']?\s*:\s*\\*["']?|\bx-(?:auth|api|access)-[a-z-]+\\*["']?\s*[:=]\s*\\*["']?)(?:digest[^\r\n]+|[^"'\\\r\n]+)"#,
        ),
        // passphrase: three words of it
        regex(&format!(
            r#"([\w.-]*pass[_-]?phrase[\w.-]*\\*["']?{is})(?:{TAKEN}|{QUOTED}|[^\s"'\\][^\r\n]*)"#
        )),
        // "db_password": "x" · 'token' => 1
        regex(&format!(r#"({name}\\*["']\s*(?:=>|:)\s*)(?:{TAKEN}|{QUOTED}|{JSON})"#)),
        // "auth": "x"
        regex(&format!(r#"(["']auth\\*["']\s*:\s*)(?:{TAKEN}|{QUOTED})"#)),
        // ?token=x& · a=b&sig=x&
        regex(&format!(r"((?:[?&]|%3f|%26)(?:amp;)?(?:{name}|sig(?:nature)?)(?:=|%3d))(?:{TAKEN}|{QUERY})")),
        // password=x · API_TOKEN='x' · secret => x
        regex(&format!(r#"({name}\\*["']?{is}){value}"#)),
        // --password x · -token x · "--password", "x"
        regex(&format!(r#"((?:^|[\s"'])--?{name}(?:\s+|\\*["']\s*,\s*)){value}"#)),
        // <password>x</password>
        regex(&format!(r"(<(?:[\w-]+:)?{name}(?:\s[^<>]*)?>)(?:<!\[cdata\[.*?\]\]>|\s*[^\s<][^<\r\n]*)")),
        // identified by 'x' · requirepass x
        regex(&format!(r"(\b(?:identified\s+by|requirepass|masterauth)\s+){value}")),
        // mysql -px · sshpass -p x · docker login -p x · redis-cli -a x · ldapsearch -w x
        exact(&format!(r"(\b(?:mysql|mariadb)[\w-]*\s(?:.*?\s)?-p){value}")),
        exact(&format!(r"(\b(?:sshpass|(?:docker|podman)\s+login)\s(?:.*?\s)?-p\s*){value}")),
        exact(&format!(r"(\b(?:redis-cli\s(?:.*?\s)?-a|ldap[a-z]+\s(?:.*?\s)?-w)\s*){value}")),
        // curl -u name:x
        regex(r#"(\s(?:-u|--user|--proxy-user)[\s=]+["']?[^\s:"']+:)[^\s"']+"#),
        // scheme://name:x@host
        regex(r#"(\b[a-z][a-z0-9+.-]*://)[^\s/"'<>@:]*(?::[^\s"'<>]*)?(?:@)"#),
        // Addresses to which anyone may send who knows them.
        regex(r#"(\bhooks\.slack(?:-gov)?\.com/[a-z]+/)[^\s"'<>\\]+"#),
        regex(r#"(\bdiscord(?:app)?\.com/api/webhooks/|\.webhook\.office\.com/)[^\s"'<>\\]+"#),
        // What says itself what it is.
        regex(r"(\bbearer\s+)[a-z0-9._~+/=-]{8,}"),
        regex(r"(\bbasic\s+)[a-z0-9+/]{16,}={0,2}"),
        exact(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"),
        exact(r"\bmuster1\.[A-Za-z0-9_-]{16,}"),
        exact(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        exact(r"\b(?:gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})"),
        exact(r"\b(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|npm_[A-Za-z0-9]{30,}|hv[bs]\.[A-Za-z0-9_-]{20,})"),
        exact(r"\b(?:sk|rk)[-_](?:live[-_]|test[-_])?[A-Za-z0-9_-]{20,}|\bAIza[A-Za-z0-9_-]{35}"),
        exact(r"\bSG\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)*"),
        exact(r"\bAGE-SECRET-KEY-1[0-9A-Z]{20,}"),
        exact(r"\$(?:1|2[abxy]|5|6|y|argon2(?:i|d|id))\$[./A-Za-z0-9$=,+-]{16,}"),
    ]
});

fn regex(pattern: &str) -> Regex {
    build(pattern, true)
}

fn exact(pattern: &str) -> Regex {
    build(pattern, false)
}

#[allow(clippy::expect_used)]
fn build(pattern: &str, any_case: bool) -> Regex {
    // Bytes, not characters: output need not be text.
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).case_insensitive(any_case).build().expect("a test builds each pattern")
}

/// Where a private key that begins in these bytes has its first.
pub(super) fn key_begin(bytes: &[u8]) -> Option<usize> {
    BEGIN.find(bytes).map(|found| found.end())
}

/// Where what follows a private key begins.
pub(super) fn key_end(bytes: &[u8]) -> Option<usize> {
    END.find(bytes).map(|found| found.end())
}

/// A line without what looks like a credential.
pub(super) fn redact(line: &[u8]) -> Cow<'_, [u8]> {
    let mut now = Cow::Borrowed(line);
    for pattern in ALL.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&now, replacement) {
            now = Cow::Owned(changed);
        }
    }
    now
}

fn replacement(found: &regex::bytes::Captures<'_>) -> Vec<u8> {
    let kept = found.get(1).map_or(&[][..], |group| group.as_bytes());
    // An address keeps the sign between who and where.
    let after: &[u8] = if found[0].ends_with(b"@") { b"@" } else { b"" };
    // A value in quotes stays one, so that what was JSON is still.
    let value = &found[0][kept.len()..];
    let quote = quote_of(value);
    [kept, quote, MARK.as_bytes(), quote, after].concat()
}

fn quote_of(value: &[u8]) -> &[u8] {
    let slashes = value.iter().take_while(|byte| **byte == b'\\').count();
    match value.get(slashes) {
        Some(b'"' | b'\'') => &value[..=slashes],
        _ => &[],
    }
}
