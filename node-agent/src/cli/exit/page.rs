//! The table as people read it: in `--help`, and as a page.

use std::fmt::Write as _;

use super::table::ALL;

/// For `--help`.
pub(in crate::cli) fn help() -> String {
    let mut text = "Exit codes:\n   0  done\n".to_owned();
    for code in ALL {
        let _ = writeln!(text, "  {:>2}  {:<25}  {}", code.number, code.name, code.meaning);
    }
    text
}

/// docs/errors/agent-exit-codes.md.
#[cfg(test)]
fn page() -> String {
    let mut text = "\
# Exit codes of muster-node-agent

Each command of the agent ends with one of these. A number and a name never change
their meaning; the text of a cause may change with every release: do not parse it.
No number is above 125, because shells use those.

What went wrong stands on standard error: cause, code and remedy. With `--json` it is
one object on standard output instead, where a program waits for its answer:

```json
{\"schema\":\"error/1\",\"error\":{\"code\":\"NOT_CONNECTED\",\"number\":13,\"cause\":\"…\",\"remedy\":\"…\",
 \"reason\":null,\"docs\":\"docs/errors/agent-exit-codes.md#not_connected\"}}
```

`reason` is the stable reason that the control plane gave, or null; `docs` leads to the
page of that reason, or to a heading of this one.

This page is made from the table in the code: `make agent-pages` writes it anew.

| exit status | code | meaning | said by `azcmagent` as |
|---|---|---|---|
| 0 | | Done. | 0 |
"
    .to_owned();
    for code in ALL {
        let arc = if code.arc.is_empty() { "no code of its own" } else { code.arc };
        let _ = writeln!(
            text,
            "| {} | [{name}](#{}) | {}. | {arc} |",
            code.number,
            code.name.to_lowercase(),
            code.meaning,
            name = code.name
        );
    }
    for code in ALL {
        let _ = write!(
            text,
            "\n## {}\n\n{}. Exit status {}.\n\n**Do:** {}.\n",
            code.name, code.meaning, code.number, code.remedy
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_stay_below_what_shells_use_and_every_row_says_something() {
        for pair in ALL.windows(2) {
            assert!(pair[0].number < pair[1].number, "{} comes before {}", pair[0].name, pair[1].name);
        }
        for code in ALL {
            assert!(code.number > 0 && code.number <= 125, "{}", code.name);
            assert!(ALL.iter().filter(|other| other.name == code.name).count() == 1, "{}", code.name);
            assert!(code.name.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{}", code.name);
            for text in [code.meaning, code.remedy] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", code.name);
            }
            assert!(help().contains(code.name));
        }
    }

    /// With `MUSTER_WRITE_PAGES` set it writes the page instead.
    #[test]
    fn the_page_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors/agent-exit-codes.md");
        if std::env::var_os("MUSTER_WRITE_PAGES").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let read = std::fs::read_to_string(path).unwrap();
        assert!(
            read == page(),
            "docs/errors/agent-exit-codes.md is not what the table says: make agent-pages"
        );
    }
}
