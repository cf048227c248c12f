//! What looks like a secret does not go to a model. Forms that are known are hidden, no more: a
//! password in a sentence is not found.

const HIDDEN: &str = "[hidden: it looks like a secret]";
/// How keys of well-known services begin, and how many characters follow at the least.
const PREFIXES: [(&str, usize); 12] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("sk-", 20),
    ("sk_live_", 16),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AIza", 30),
];

/// The text without what looks like a secret: keys of well-known services, and private keys
/// (RFC 7468).
pub(super) fn hidden(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
            in_key = true;
            shown.push_str(HIDDEN);
            shown.push('\n');
        }
        if !in_key {
            hide_in_line(line, &mut shown);
        }
        if in_key && line.contains("-----END") {
            in_key = false;
        }
    }
    shown
}

fn is_of_key(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

/// Keys are words of their own.
fn hide_in_line(line: &str, shown: &mut String) {
    let mut rest = line;
    while let Some(start) = rest.find(is_of_key) {
        let (before, from) = rest.split_at(start);
        shown.push_str(before);
        let end = from.find(|letter| !is_of_key(letter)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let is_secret = PREFIXES.iter().any(|(prefix, more)| {
            word.strip_prefix(prefix)
                .is_some_and(|tail| tail.len() >= *more && tail.bytes().any(|b| b.is_ascii_digit()))
        });
        shown.push_str(if is_secret { HIDDEN } else { word });
        rest = after;
    }
    shown.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_all_else_is_as_it_was() {
        let key = format!("AKIA{}", "ABCDEFGH12345678");
        let token = format!("ghp_{}", "a1".repeat(18));
        let text = format!(
            "aws = \"{key}\"\nlet x = {token};\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend\n"
        );
        let expected = format!("aws = \"{HIDDEN}\"\nlet x = {HIDDEN};\n{HIDDEN}\nend\n");
        assert_eq!(hidden(&text), expected);
        let plain = "sk-learn is a library; AKIA is not a key\nfn ghp_() {} // ünïcode\nlast";
        assert_eq!(hidden(plain), plain);
    }

    #[test]
    fn a_key_that_does_not_end_hides_the_rest() {
        let text = "-----BEGIN PRIVATE KEY-----\nMIIE\nMIIE";
        assert_eq!(hidden(text), format!("{HIDDEN}\n"));
    }
}
