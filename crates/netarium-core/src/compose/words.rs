//! A command in one line, split into words as a shell would, without anything else that shells do
//! (IEEE Std 1003.1, Shell Command Language, Quoting).

/// The words of a line; nothing if a quote is not closed.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => double_quoted(&mut letters, word.get_or_insert_default())?,
            '\\' => match letters.next()? {
                '\n' => {}
                letter => word.get_or_insert_default().push(letter),
            },
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Some(words)
}

/// A backslash before these stands for them alone.
fn double_quoted(letters: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match letters.next()? {
            '"' => return Some(()),
            '\\' => match letters.next()? {
                '\n' => {}
                letter @ ('"' | '\\' | '$' | '`') => word.push(letter),
                letter => word.extend(['\\', letter]),
            },
            letter => word.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn lines_are_split_where_a_shell_would_split_them() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            ("  sleep   infinity ", &["sleep", "infinity"]),
            ("sh -c 'a b; c'", &["sh", "-c", "a b; c"]),
            (r#"echo "a \"b\" \n" c\ d"#, &["echo", "a \"b\" \\n", "c d"]),
            ("a''b \"\"", &["ab", ""]),
            (
                "bash -c \"ip route del default && sleep 1\"",
                &["bash", "-c", "ip route del default && sleep 1"],
            ),
            ("a\\\nb", &["ab"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).as_deref(), Some(words.map_owned().as_slice()), "{line}");
        }
        for line in ["'", "\"a", "a\\", "\"\\"] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for [&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|word| (*word).to_owned()).collect()
        }
    }
}
