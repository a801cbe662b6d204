//! SPNEGO: what a NameNode's HTTP door wants to see of who is logged in by Kerberos.
//!
//! hdfs-native does not lend its log-in, and the libraries that bind the system's Kerberos want it when they are linked; our binary has to
//! run where there is none. So the few messages that this takes are made here, with the encoding and the cryptography of krb5-gss: a ticket for the
//! door itself is asked of the KDC with the key of the keytab, and shown.
//!
//! What this cannot do: tickets of a cache, doors of another realm than the principal's, KDCs that only DNS knows, and the old ciphers (RC4, DES).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use krb5_gss::gss::{ApReqOptions, build_ap_req_token};
use krb5_gss::kerberos::asn1::{self, EncryptedData, KdcReqBody, PaData, PrincipalName};
use krb5_gss::kerberos::keytab::{Keytab, KeytabEntry};
use krb5_gss::kerberos::{crypto, messages, util};
use krb5_gss::{Etype, KdcTransport, TokioKdcTransport};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::timeout;

use super::{Target, failure};

/// A KDC that does not answer in this time is as good as none.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Port of a KDC where its entry has none.
const KDC_PORT: u16 = 88;
/// Tag of an error of the KDC.
const KRB_ERROR: u8 = 0x7e;
/// `1.3.6.1.5.5.2` and `1.2.840.113554.1.2.2` as DER has them.
const SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];

/// Makes `Authorization` headers.
#[derive(Debug)]
pub(super) struct Negotiator {
    principal: Option<String>,
    keytab: Option<String>,
}

/// Who asks, with the keys to prove it.
struct Client {
    name: PrincipalName,
    realm: String,
    keys: Vec<KeytabEntry>,
}

/// What the KDC gave.
struct Ticket {
    der: Vec<u8>,
    etype: Etype,
    key: Vec<u8>,
}

impl Negotiator {
    pub(super) fn new(target: &Target) -> Self {
        Negotiator {
            principal: target.principal.clone(),
            keytab: target.keytab.clone(),
        }
    }

    /// The header for a host, or why there is none.
    pub(super) async fn header(&self, host: &str) -> Result<String, String> {
        let (Some(principal), Some(keytab)) = (&self.principal, &self.keytab) else {
            return Err("it wants Kerberos, for which [hdfs] kerberos_keytab has to be set".to_owned());
        };
        let (path, text) = failure::krb5_conf();
        let client = Client::new(principal, keytab, &text)?;
        let kdcs = failure::kdcs_of(&text, &client.realm);
        let mut last = format!("{path} names no KDC of the realm {}", client.realm);
        for kdc in kdcs {
            match client.ask(&kdc, host).await {
                Ok(ticket) => return client.show(&ticket),
                Err(error) => last = format!("the KDC {kdc}: {error}"),
            }
        }
        Err(format!("no ticket for HTTP/{host} as {principal}: {last}"))
    }
}

impl Client {
    fn new(principal: &str, keytab: &str, krb5_conf: &str) -> Result<Self, String> {
        let (name, realm) = match principal.rsplit_once('@') {
            Some((name, realm)) => (name, realm.to_owned()),
            None => (principal, failure::default_realm(krb5_conf).unwrap_or_default()),
        };
        let parsed = Keytab::parse_file(keytab).map_err(|error| error.to_string())?;
        let mut keys = parsed.entries;
        keys.retain(|entry| entry.principal == name && entry.realm == realm);
        let newest = keys.iter().map(|entry| entry.kvno).max();
        keys.retain(|entry| Some(entry.kvno) == newest);
        if keys.is_empty() {
            return Err(format!(
                "the keytab {keytab} has no key of {name}@{realm} that is of AES"
            ));
        }
        let name = PrincipalName {
            name_type: messages::NT_PRINCIPAL,
            name_string: name.split('/').map(str::to_owned).collect(),
        };
        Ok(Client { name, realm, keys })
    }

    /// Asks for a ticket of the door itself, without one for tickets before: that is used once.
    async fn ask(&self, kdc: &str, host: &str) -> Result<Ticket, String> {
        let Some(first) = self.keys.first() else {
            return Err("no key".to_owned());
        };
        let mut nonce = [0; 4];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| "no random numbers".to_owned())?;
        let nonce = i32::from_be_bytes(nonce) & i32::MAX;
        let body = asn1::encode_kdc_req_body(&KdcReqBody {
            kdc_options: [0; 4],
            cname: Some(self.name.clone()),
            realm: self.realm.clone(),
            sname: Some(PrincipalName {
                name_type: messages::NT_SRV_HST,
                name_string: vec!["HTTP".to_owned(), host.to_owned()],
            }),
            from: None,
            till: util::utc_add_days(1),
            rtime: None,
            nonce,
            etype: self.keys.iter().map(|entry| entry.etype as i32).collect(),
            addresses: None,
        });
        let (now, micros) = util::utc_now_with_micros();
        let stamp = [
            asn1::tlv_ctx(0, &asn1::tlv(0x18, now.as_bytes())),
            asn1::ctx_int(1, micros),
        ]
        .concat();
        let cipher = crypto::encrypt(
            first.etype,
            &first.key,
            messages::KEY_USAGE_PA_ENC_TIMESTAMP,
            &asn1::tlv_seq(&stamp),
        );
        let proof = asn1::encode_enc_data(&EncryptedData {
            etype: first.etype as i32,
            kvno: Some(i32::from(first.kvno)),
            cipher: cipher.map_err(|error| error.to_string())?,
        });
        let proof = asn1::encode_pa_data(&PaData {
            padata_type: messages::PADATA_ENC_TIMESTAMP,
            padata_value: proof,
        });
        let request = asn1::encode_kdc_req(
            messages::PVNO,
            messages::MSG_AS_REQ,
            messages::TAG_AS_REQ,
            Some(&asn1::tlv_seq(&proof)),
            &body,
        );
        let (kdc_host, port) = match kdc.rsplit_once(':') {
            Some((kdc_host, port)) => (kdc_host, port.parse().unwrap_or(KDC_PORT)),
            None => (kdc, KDC_PORT),
        };
        let transport = TokioKdcTransport::new(kdc_host, port);
        let reply = timeout(ANSWERS_WITHIN, transport.exchange(&self.realm, &request)).await;
        let reply = reply
            .map_err(|_| format!("no answer within {ANSWERS_WITHIN:?}"))?
            .map_err(|error| error.to_string())?;
        self.ticket(&reply, nonce)
    }

    fn ticket(&self, reply: &[u8], nonce: i32) -> Result<Ticket, String> {
        if reply.first() == Some(&KRB_ERROR) {
            let error = asn1::decode_krb_error(reply).map_err(|error| error.to_string())?;
            return Err(match error.error_code {
                6 => "it does not know the principal".to_owned(),
                7 => "it does not know the NameNode's principal HTTP/host: is the host named as there?".to_owned(),
                24 => "the keytab has an old or wrong key of the principal".to_owned(),
                37 => "its clock and the one of this machine differ too much".to_owned(),
                code => format!("error {code} of Kerberos"),
            });
        }
        let reply = asn1::decode_kdc_rep(reply, messages::TAG_AS_REP).map_err(|error| error.to_string())?;
        let etype = |number: i32| u32::try_from(number).ok().and_then(Etype::from_u32);
        let etype =
            |number: i32| etype(number).ok_or_else(|| format!("it uses the cipher {number}, which is none of AES"));
        let used = etype(reply.enc_part.etype)?;
        let key = self.keys.iter().find(|entry| entry.etype == used);
        let key = key.ok_or_else(|| "it uses a key that is not in the keytab".to_owned())?;
        let usage = messages::KEY_USAGE_AS_REP_ENC_PART;
        let part = crypto::decrypt(used, &key.key, usage, &reply.enc_part.cipher).map_err(|error| error.to_string())?;
        let part = asn1::decode_enc_kdc_rep_part(&part).map_err(|error| error.to_string())?;
        if part.nonce != nonce {
            return Err("it answers another question".to_owned());
        }
        Ok(Ticket {
            der: reply.ticket_der,
            etype: etype(part.key.keytype)?,
            key: part.key.keyvalue,
        })
    }

    fn show(&self, ticket: &Ticket) -> Result<String, String> {
        let (now, micros) = util::utc_now_with_micros();
        let token = build_ap_req_token(&ApReqOptions {
            cname: &self.name,
            crealm: &self.realm,
            ticket_der: &ticket.der,
            session_etype: ticket.etype,
            session_key: &ticket.key,
            ctime: &now,
            cusec: micros,
            seq_number: Some(0),
            subkey: None,
        });
        let token = token.map_err(|error| error.to_string())?;
        Ok(format!("Negotiate {}", STANDARD.encode(spnego(&token))))
    }
}

/// `NegTokenInit`: Kerberos is what is offered, and this is its first token.
fn spnego(token: &[u8]) -> Vec<u8> {
    let mechanisms = asn1::tlv_seq(&asn1::tlv(0x06, KRB5));
    let init = [asn1::tlv_ctx(0, &mechanisms), asn1::tlv_ctx(2, &asn1::tlv(0x04, token))].concat();
    let init = asn1::tlv_ctx(0, &asn1::tlv_seq(&init));
    asn1::tlv(0x60, &[asn1::tlv(0x06, SPNEGO), init].concat())
}
