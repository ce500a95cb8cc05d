//! Users and groups of a node, looked up in the text of its own `/etc/passwd` and `/etc/group`.
//!
//! Sources: passwd(5), group(5). Lines that are not of that form are passed over.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest id; the one above means "nobody in particular" to the kernel (chown(2)).
const LARGEST: u32 = u32::MAX - 1;

/// A user by name or number, and a group if it is not the user's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct User {
    /// A name or a number.
    pub name: String,
    /// A name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What a node knows of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
    /// The other groups that the user is in.
    pub groups: Vec<u32>,
    /// The user's home folder, if it has one.
    pub home: Option<String>,
}

/// Why nobody was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no such user.
    #[error("there is no user {0}")]
    User(String),
    /// There is no such group.
    #[error("there is no group {0}")]
    Group(String),
}

impl User {
    /// Reads `user` or `user:group`; `None` if that is not of the form of names or numbers.
    pub fn parse(word: &str) -> Option<Self> {
        let (name, group) = match word.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (word, None),
        };
        let all_are_words = is_word(name) && group.is_none_or(is_word);
        all_are_words.then(|| Self { name: name.to_owned(), group: group.map(str::to_owned) })
    }

    /// Looks the user up. A number needs no entry; its group is then 0, as container engines have it.
    ///
    /// # Errors
    /// If a name is not there.
    pub fn find(&self, passwd: &str, group: &str) -> Result<Account, Unknown> {
        let number = number(&self.name);
        let entry = passwd.lines().find_map(|line| {
            let entry = Entry::read(line)?;
            let is_it = entry.name == self.name || number == Some(entry.uid);
            is_it.then_some(entry)
        });
        let uid = entry.as_ref().map(|it| it.uid).or(number);
        let uid = uid.ok_or_else(|| Unknown::User(self.name.clone()))?;
        let own = entry.as_ref().map_or(0, |it| it.gid);
        let gid = match &self.group {
            Some(word) => group_of(word, group).ok_or_else(|| Unknown::Group(word.clone()))?,
            None => own,
        };
        let name = entry.as_ref().map(|it| it.name);
        let mut groups: Vec<u32> = group.lines().filter_map(|line| member(line, name?)).collect();
        groups.retain(|other| *other != gid);
        let home = entry.and_then(|it| it.home).map(str::to_owned);
        Ok(Account { uid, gid, groups, home })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

/// A line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (number(fields.nth(1)?)?, number(fields.next()?)?);
        let home = fields.nth(1).filter(|home| home.starts_with('/'));
        Some(Self { name, uid, gid, home })
    }
}

/// The number of a group by name or number.
fn group_of(word: &str, text: &str) -> Option<u32> {
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(word);
        fields.nth(1).and_then(number).filter(|_| is_it)
    });
    named.or_else(|| number(word))
}

/// The number of the group of this line of `/etc/group`, if `user` is in it.
fn member(line: &str, user: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let gid = number(fields.next()?)?;
    fields.next()?.split(',').any(|it| it == user).then_some(gid)
}

fn number(word: &str) -> Option<u32> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|number| digits && *number <= LARGEST)
}

/// Whether it can be a name or a number (useradd(8), and what other systems allow besides).
fn is_word(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let number_or_name = word.bytes().any(|byte| !byte.is_ascii_digit()) || number(word).is_some();
    (1..=32).contains(&word.len())
        && !word.starts_with(['-', '.'])
        && word.bytes().all(letter)
        && number_or_name
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nodd\n:x:1:1::/:\n\
                          www-data:x:33:33::/var/www:/bin/false\napp:x:1000:1000:::\n";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\nodd:x\nlogs:x:50:app,www-data\nkeys:x:51:app\n";

    fn find(word: &str) -> Result<Account, String> {
        let user = User::parse(word).unwrap();
        user.find(PASSWD, GROUP).map_err(|error| error.to_string())
    }

    #[test]
    fn a_user_has_the_groups_that_the_node_gives() {
        let home = Some("/var/www".to_owned());
        let account = Account { uid: 33, gid: 33, groups: vec![50], home };
        assert_eq!(find("www-data"), Ok(account.clone()));
        assert_eq!(find("33"), Ok(account));
        let account = Account { uid: 1000, gid: 50, groups: vec![51], home: None };
        assert_eq!(find("app:logs"), Ok(account));
    }

    #[test]
    fn a_number_needs_no_entry_and_a_name_does() {
        let account = Account { uid: 7, gid: 8, groups: vec![], home: None };
        assert_eq!(find("7:8"), Ok(account));
        assert_eq!(find("nobody"), Err("there is no user nobody".to_owned()));
        assert_eq!(find("app:wheel"), Err("there is no group wheel".to_owned()));
    }

    #[test]
    fn odd_words_are_no_users() {
        for word in ["", ":", "a:", ":b", "a b", "a:b:c", "-a", "../a", "4294967295", "a\n"] {
            assert_eq!(User::parse(word), None, "{word:?}");
        }
    }
}
