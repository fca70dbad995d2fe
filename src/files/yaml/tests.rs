use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct Settings {
    heal: bool,
    names: Vec<String>,
    table: BTreeMap<String, Vec<u32>>,
    limit: Option<u32>,
    share: f64,
    anything: Option<serde::de::IgnoredAny>,
}

/// Joins what `line` makes of the numbers up to `count`.
pub(crate) fn repeat(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

fn error(text: &str) -> String {
    parse::<Settings>(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_good_document_is_read() {
    let text =
        "\u{feff}# settings\nheal: true\nnames: [a, \"b\", 3]\ntable:\n  x: [1, 2]\nlimit: 5\nanything: {deep: [1]}\n";
    let settings: Settings = parse(text.as_bytes()).unwrap();
    assert_eq!(settings.names, ["a", "b", "3"]);
    assert_eq!(settings.table["x"], [1, 2]);
    assert_eq!((settings.heal, settings.limit), (true, Some(5)));
}

#[test]
fn errors_name_the_place_the_problem_and_the_remedy() {
    for (text, expected) in [
        ("helth: true\n", "1:1: unknown key `helth`; did you mean `heal`?"),
        ("\n  qqq: 1\n", "2:3: unknown key `qqq`; known keys are heal, names, table, limit, share, anything"),
        ("heal: yes\n", "1:7: expected true or false, found `yes`"),
        ("heal: 5\n", "1:7: expected true or false, found `5`"),
        ("heal: [true]\n", "1:7: expected true or false, found a list"),
        ("heal:\n", "1:6: expected true or false, found nothing"),
        ("names: 7\n", "1:8: expected a list, found `7`"),
        ("names: {a: b}\n", "1:8: expected a list, found a mapping"),
        ("names:\n  - [a]\n", "2:5: expected text, found a list"),
        ("limit: -1\n", "1:8: expected a whole number, found `-1`"),
        ("limit: 1.5\n", "1:8: expected a whole number, found `1.5`"),
        ("share: much\n", "1:8: expected a number, found `much`"),
        ("table: {x: [1, y]}\n", "1:16: expected a whole number, found `y`"),
        ("- a\n", "1:1: expected a mapping of settings, found a list"),
        ("hello\n", "1:1: expected a mapping of settings, found `hello`"),
        ("heal: true\nheal: true\n", "2:1: the key `heal` is here twice; delete one"),
        ("table:\n  x: [1]\n  y: []\n  'x': []\n", "4:3: the key `x` is here twice; delete one"),
        (
            "x: &a {heal: true}\n<<: *a\n",
            "1:1: unknown key `x`; known keys are heal, names, table, limit, share, anything",
        ),
        ("<<: {heal: true}\n", "1:1: merge keys are not supported; write the merged keys out"),
        (
            "heal: true\n---\nheal: true\n",
            "there is more than one document in this file; delete the lines `---` between them",
        ),
        ("names: [a\n", "2:1: expected a `,` or the end of the list that begins with `names: [`; close it with `]`"),
        (
            "heal: true\ntable: {x: [1]\nnames: [a]\n",
            "3:1: expected a `,` or the end of the mapping that begins with `table: {`; close it with `}`",
        ),
        (
            "table:\n  é: {\n  y: [1]\n",
            "4:1: expected a `,` or the end of the mapping that begins with `é: {`; close it with `}`",
        ),
        ("names: [\"a]\n", "2:1: the text that begins with `names: [\"` never ends; close the quote"),
        (
            "names: a: 5\n",
            "1:9: there cannot be a `:` here; put text that contains `: ` in quotes, and check the indentation",
        ),
        (
            "names:\n\t- a\n",
            "2:1: nothing can begin with this character; indent with spaces, not tabs, and put text that begins with @ or ` in quotes",
        ),
        ("names: *x\n", "1:8: nothing above has the name of this alias; put text that begins with * in quotes"),
        ("? [a]\n: b\n", "1:3: expected a key, found a list"),
        ("%TAG ! tag:x\n---\nheal: true\n", "1:1: %TAG directives are not supported; delete this line"),
        (
            "heal: \u{7}\n",
            "1:7: the control character 0x07 is not allowed; delete it, or write it as an escape in double quotes",
        ),
        ("", "the file is empty"),
        ("# nothing\n\n", "the file is empty"),
        ("--- null\n", "the file is empty"),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
}

#[test]
fn invalid_utf8_is_refused_at_its_place() {
    let error = parse::<Settings>(b"heal: true\n# gr\xc3\xbcn \xff\n").unwrap_err();
    assert_eq!(error.to_string(), "2:8: the byte 0xff is not UTF-8; save the file as UTF-8");
}

#[test]
fn null_differs_from_a_value() {
    for nothing in ["", "# x\n", "---\n", "~\n", "\u{feff}"] {
        assert_eq!(parse_optional::<Settings>(nothing.as_bytes()), Ok(None), "{nothing:?}");
    }
    assert_eq!(parse_optional::<Settings>(b"{}"), Ok(Some(Settings::default())));
}

#[test]
fn aliases_work_until_they_multiply() {
    let settings: Settings = parse(b"names: &a [a, b]\nanything: *a\ntable: {x: &t [1], y: *t}\n").unwrap();
    assert_eq!(settings.table["y"], [1]);

    let list = (0..1000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let uses = repeat(1000, |i| format!("  k{i}: *l\n"));
    assert!(error(&format!("table:\n  l: &l [{list}]\n{uses}")).contains("aliases repeat too much"));

    let uses: String = (0..1000).map(|_| "- *l\n").collect();
    let text = "y".repeat(10_000);
    assert!(error(&format!("names:\n- &l {text}\n{uses}")).contains("aliases repeat too much"));
}

#[test]
fn input_that_would_exhaust_the_parser_is_refused_first() {
    assert!(error(&"[".repeat(100_000)).contains("1:501: too many brackets"));
    assert!(error(&"a: b\n".repeat(100_000)).contains("there is too much in this file"));
    assert!(error(&"- ".repeat(100_000)).contains("there is too much in this file"));
    assert!(error(&" ".repeat(MAX_BYTES + 1)).contains("longer than 8 MiB"));
}

#[test]
fn deep_nesting_needs_no_stack() {
    let block = repeat(1000, |depth| format!("{}a:\n", " ".repeat(depth + 1)));
    for value in
        [format!("{}{}", "[".repeat(400), "]".repeat(400)), format!("\n  {}x", "- ".repeat(5000)), format!("\n{block}")]
    {
        let text = format!("anything: {value}\n");
        assert_eq!(parse::<Settings>(text.as_bytes()).map(|settings| settings.heal), Ok(false));
        let text = format!("names: {value}\n");
        assert!(parse::<Settings>(text.as_bytes()).is_err());
    }
}

#[test]
fn a_message_is_one_short_line() {
    let long = error(&format!("heal: \"{}\\n\"\n", "\u{1f600}\\e".repeat(100_000)));
    assert!(long.chars().count() < 400, "{long}");
    assert!(!long.contains(char::is_control), "{long}");
}

#[test]
fn a_near_name_is_suggested_and_a_far_one_is_not() {
    let known = ["refresh", "unit_prefix", "ignore_workers", "give_up_after"];
    assert_eq!(did_you_mean("unit-prefix", known), Some("unit_prefix"));
    assert_eq!(did_you_mean("giveup_after", known), Some("give_up_after"));
    assert_eq!(did_you_mean("colour", known), None);
}

#[test]
fn a_list_is_cut_between_its_items() {
    let item = |i: usize| format!("  - name: s{i}\n    text: {}\n\n  # next\n", "x".repeat(2000));
    let items: Vec<String> = (0..50).map(item).collect();
    let document = format!("# head\n---\nversion: 1.2\nsites: # all\n\n{}other: 1\n", items.concat());
    let split = split_list(document.as_bytes(), "sites").unwrap();
    assert_eq!(
        String::from_utf8(split.frame.clone()).unwrap(),
        "# head\n---\nversion: 1.2\nsites: # all\n\nother: 1\n"
    );
    assert!(split.pieces.len() > 2);
    let joined: Vec<u8> = split.pieces.iter().flat_map(|piece| piece.text.to_vec()).collect();
    assert_eq!(String::from_utf8(joined).unwrap(), items.concat());
    assert_eq!(split.items().count(), 50);
    for (number, item) in split.items().enumerate() {
        assert!(str::from_utf8(item.text).unwrap().starts_with(&format!("  - name: s{number}\n")));
        assert_eq!(item.lines_before, 5 + 4 * number);
    }
    for Item { lines_before: lines, text: piece } in split.pieces {
        let at = document.find(str::from_utf8(piece).unwrap()).unwrap();
        assert_eq!(document[..at].matches('\n').count(), lines);
        assert!(piece.starts_with(b"  - name: s"));
    }
}

#[test]
fn other_documents_are_not_cut() {
    for text in ["", "sites: []\n", "sites:\n", "a: '\nsites:\n- b\n", "sites:\n  a: b\n", "[sites]", "sites:#\n- a\n"]
    {
        assert!(split_list(text.as_bytes(), "sites").is_none(), "{text:?}");
    }
}

/// Text that looks enough like YAML to get deep into the parser.
pub(crate) fn yaml_like() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("sites:\n"),
        Just("- name: "),
        Just("  paused_workers: "),
        Just("heal"),
        Just("names"),
        Just("table"),
        Just(": "),
        Just("- "),
        Just("? "),
        Just("\n"),
        Just("  "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("'"),
        Just("\""),
        Just("|\n"),
        Just(">-\n"),
        Just("&a "),
        Just("*a"),
        Just("!!str "),
        Just("!x "),
        Just("---\n"),
        Just("..."),
        Just("# c"),
        Just("\\"),
        Just("%YAML 1.1\n"),
        Just("\t"),
        Just("\r"),
        Just("\u{2028}"),
        Just("\u{85}"),
        Just("ü"),
        Just("null"),
        Just("true"),
        Just("12"),
        Just("0x"),
        Just("<<"),
        Just("~"),
        Just("\u{feff}"),
        Just("a\nb"),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse::<Settings>(&bytes);
    }

    #[test]
    fn any_likely_text_is_read_or_refused_within_it(text in yaml_like()) {
        if let Err(error) = parse::<Settings>(text.as_bytes()) {
            // The parser counts more characters as the end of a line than `lines` does.
            let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}']).count() + 2;
            prop_assert!(error.line <= lines, "{error} in {text:?}");
            prop_assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn structure_is_never_underestimated(text in yaml_like()) {
        if let Ok(value) = serde_yaml::from_str::<Count>(&text) {
            prop_assert!(value.0 <= structure(text.as_bytes()).unwrap() + 1, "{} in {text:?}", value.0);
        }
    }
}

/// Counts events: scalars, and the beginnings and ends of lists and mappings.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_str<E>(self, _: &str) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_none<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut count = 2;
                while let Some(Count(item)) = seq.next_element()? {
                    count += item;
                }
                Ok(Count(count))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                let mut count = 2;
                while let Some((Count(key), Count(value))) = map.next_entry()? {
                    count += key + value;
                }
                Ok(Count(count))
            }
            fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<Count, A::Error> {
                use de::VariantAccess;
                let (_, variant): (de::IgnoredAny, _) = access.variant()?;
                variant.newtype_variant()
            }
        }
        deserializer.deserialize_any(Counter)
    }
}
