//! Who may come in, from where, and how they show who they are: rules as `pg_hba.conf` writes them, the first that fits decides.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// How a user shows who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// They may not come in.
    Reject,
    /// A password; where the protocol has them, a token.
    Scram,
    /// A certificate whose common name is the user's.
    Certificate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Any,
    Encrypted,
    Plain,
}

/// `all`, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Some(Vec<String>),
}

impl Names {
    fn parse(text: &str) -> Names {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        match names.iter().any(|name| name == "all") {
            true => Names::All,
            false => Names::Some(names),
        }
    }

    /// `None` is nobody in particular: only `all` fits.
    fn fit(&self, name: Option<&str>) -> bool {
        match self {
            Names::All => true,
            Names::Some(names) => name.is_some_and(|name| names.iter().any(|known| known == name)),
        }
    }
}

/// One rule: `host  database  user  address  method`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    channel: Channel,
    databases: Names,
    users: Names,
    /// `None` is every address.
    network: Option<IpNet>,
    method: Method,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [channel, databases, users, address, method] = words[..] else {
            return Err("a rule is five words: host|hostssl|hostnossl DATABASE USER ADDRESS METHOD".into());
        };
        let channel = match channel {
            "host" => Channel::Any,
            "hostssl" => Channel::Encrypted,
            "hostnossl" => Channel::Plain,
            "local" => return Err("there are no Unix-domain sockets, so local has no meaning; use host".into()),
            other => return Err(format!("{other:?} is none of host, hostssl, hostnossl")),
        };
        let method = match method {
            "trust" => Method::Trust,
            "reject" => Method::Reject,
            "scram-sha-256" => Method::Scram,
            "cert" => Method::Certificate,
            other => return Err(format!("{other:?} is none of trust, reject, scram-sha-256, cert")),
        };
        let network = match address {
            "all" => None,
            address => Some(
                address
                    .parse::<IpNet>()
                    .or_else(|_| address.parse::<IpAddr>().map(IpNet::from))
                    .map_err(|_| {
                        format!("{address:?} is no network such as 10.0.0.0/8 or fd00::/8, no address and not all")
                    })?,
            ),
        };
        let rule = Rule {
            channel,
            databases: Names::parse(databases),
            users: Names::parse(users),
            network,
            method,
        };
        if rule.method == Method::Trust && !rule.is_loopback() {
            return Err(format!(
                "trust is for addresses of this machine alone (127.0.0.0/8, ::1/128), and {address} is not; use scram-sha-256 or cert"
            ));
        }
        if rule.method == Method::Certificate && rule.channel == Channel::Plain {
            return Err("there are no certificates without TLS; use hostssl with cert".into());
        }
        Ok(rule)
    }
}

impl Rule {
    fn is_loopback(&self) -> bool {
        match self.network {
            None => false,
            // Both ends of the network, so all between them.
            Some(network) => network.network().is_loopback() && network.broadcast().is_loopback(),
        }
    }

    fn fits(&self, is_encrypted: bool, database: &str, user: Option<&str>, address: IpAddr) -> bool {
        let channel = match self.channel {
            Channel::Any => true,
            Channel::Encrypted => is_encrypted,
            Channel::Plain => !is_encrypted,
        };
        channel
            && self.network.is_none_or(|network| network.contains(&address))
            && self.databases.fit(Some(database))
            && self.users.fit(user)
    }
}

/// All of them, in order.
#[derive(Debug, Clone)]
pub(super) struct Rules(pub(super) Vec<Rule>);

impl Rules {
    pub(super) fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Rules, String> {
        let parse = |line: &S| {
            line.as_ref()
                .parse()
                .map_err(|message| format!("{:?}: {message}", line.as_ref()))
        };
        lines.iter().map(parse).collect::<Result<_, _>>().map(Rules)
    }

    /// The method of the first rule that fits. `user` is `None` while nobody has said who they are.
    pub(super) fn method(
        &self,
        is_encrypted: bool,
        database: &str,
        user: Option<&str>,
        address: IpAddr,
    ) -> Option<Method> {
        let address = address.to_canonical();
        let fits = |rule: &&Rule| rule.fits(is_encrypted, database, user, address);
        self.0.iter().find(fits).map(|rule| rule.method)
    }

    /// Whether somebody could come in from there who says who they are.
    pub(super) fn ask_for_password(&self, is_encrypted: bool, database: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let fits = |rule: &Rule| match &rule.users {
            Names::All => rule.fits(is_encrypted, database, None, address),
            Names::Some(names) => names
                .first()
                .is_some_and(|name| rule.fits(is_encrypted, database, Some(name), address)),
        };
        self.0.iter().any(|rule| rule.method == Method::Scram && fits(rule))
    }

    pub(super) fn have(&self, method: Method) -> bool {
        self.0.iter().any(|rule| rule.method == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(lines: &[&str]) -> Rules {
        Rules::parse(lines).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = rules(&[
            "host all mallory 0.0.0.0/0 reject",
            "host all all 127.0.0.0/8 trust",
            "hostssl spark alice,bob 10.0.0.0/8 cert",
            "hostssl all all 10.0.0.0/8 scram-sha-256",
            "hostnossl all carol 10.1.2.3 scram-sha-256",
            "host all all fd00::/8 scram-sha-256",
        ]);
        let method = |tls: bool, user: &str, address: &str| {
            rules.method(
                tls,
                "spark",
                (!user.is_empty()).then_some(user),
                address.parse().unwrap(),
            )
        };
        assert_eq!(method(false, "mallory", "127.0.0.1"), Some(Method::Reject));
        assert_eq!(method(false, "alice", "127.0.0.1"), Some(Method::Trust));
        assert_eq!(method(false, "", "127.8.8.8"), Some(Method::Trust));
        assert_eq!(method(false, "alice", "::ffff:127.0.0.1"), Some(Method::Trust));
        assert_eq!(method(true, "bob", "10.9.9.9"), Some(Method::Certificate));
        assert_eq!(method(true, "carol", "10.9.9.9"), Some(Method::Scram));
        assert_eq!(method(true, "", "10.9.9.9"), Some(Method::Scram));
        assert_eq!(method(false, "bob", "10.9.9.9"), None);
        assert_eq!(method(false, "carol", "10.1.2.3"), Some(Method::Scram));
        assert_eq!(method(false, "carol", "10.1.2.4"), None);
        assert_eq!(method(false, "", "10.1.2.3"), None);
        assert_eq!(method(false, "dora", "fd00::17"), Some(Method::Scram));
        assert_eq!(method(true, "dora", "192.168.0.1"), None);
        assert_eq!(
            rules.method(true, "other", Some("bob"), "10.0.0.1".parse().unwrap()),
            Some(Method::Scram)
        );
        assert!(rules.ask_for_password(false, "spark", "10.1.2.3".parse().unwrap()));
        assert!(!rules.ask_for_password(false, "spark", "10.1.2.4".parse().unwrap()));
    }

    #[test]
    fn what_is_no_rule_says_what_would_be_one() {
        for (line, part) in [
            ("host all all trust", "five words"),
            ("local all all 127.0.0.1/32 trust", "Unix-domain"),
            ("hosts all all 127.0.0.1/32 trust", "none of host,"),
            ("host all all here trust", "no network"),
            ("host all all 10.0.0.0/33 reject", "no network"),
            ("host all all 10.0.0.0/8 md5", "none of trust"),
            ("host all all 10.0.0.0/8 trust", "of this machine alone"),
            ("host all all all trust", "of this machine alone"),
            ("host all all 126.0.0.0/7 trust", "of this machine alone"),
            ("host all all ::/0 trust", "of this machine alone"),
            ("hostnossl all all all cert", "no certificates without TLS"),
        ] {
            let message = Rules::parse(&[line]).unwrap_err();
            assert!(message.contains(part) && message.contains(line), "{line}: {message}");
        }
    }
}
