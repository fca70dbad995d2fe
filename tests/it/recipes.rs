//! The README's recipes and example configurations are valid: systemd loads each unit without complaint, and
//! `workerheal check` accepts each configuration without a warning.

#![expect(clippy::expect_used, reason = "this is for tests only")]

use crate::common::{Ran, World};

const README: &str = include_str!("../../README.md");

/// A recipe: its title, the file of its unit, the unit, and the configuration.
#[derive(Debug, Default)]
struct Recipe<'a> {
    title: &'a str,
    file: Option<&'a str>,
    unit: Option<&'a str>,
    settings: Option<&'a str>,
}

impl<'a> Recipe<'a> {
    fn of(section: &'a str) -> Self {
        let title = section.lines().next().unwrap_or_default();
        let file = quoted(section).find(|text| text.starts_with("~/.config/") || text.starts_with("/etc/systemd/"));
        let settings =
            blocks(section, "yaml").next().or_else(|| quoted(section).find(|text| text.starts_with("also_watch: ")));
        Self { title, file, unit: blocks(section, "ini").next(), settings }
    }

    /// The name and the text of the unit for systemd.
    fn service(&self) -> Option<(&'a str, String)> {
        let (file, unit) = self.file.zip(self.unit)?;
        let name = file.rsplit('/').next()?;
        // Podman generates services from other files.
        Some(match unit.split_once("[Service]\n") {
            Some((container, service)) if container.contains("[Container]") => {
                (name.strip_suffix(".container")?, format!("[Service]\nExecStart=true\n{service}"))
            }
            _ => (name.strip_suffix(".service")?, unit.to_owned()),
        })
    }
}

/// Text between single backquotes on one line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("```{language}\n");
    let begins: Vec<usize> = text.match_indices(&begin).map(|(at, _)| at + begin.len()).collect();
    begins.into_iter().map(|at| text[at..].split("```").next().unwrap_or_default())
}

fn recipes() -> Vec<Recipe<'static>> {
    let (_, after) = README.split_once("\n## Recipes\n").expect("there are recipes");
    let (section, _) = after.split_once("\n## ").expect("more follows");
    section.split("\n### ").skip(1).map(Recipe::of).collect()
}

#[test]
fn each_recipe_works_as_it_is_written() {
    let recipes = recipes();
    let titles: Vec<&str> = recipes.iter().map(|recipe| recipe.title).collect();
    assert_eq!(titles, ["Lerd", "Celery", "Sidekiq", "Node", "Podman quadlets", "A server"]);
    let world = World::new();
    // The worker whose probe is configured for Lerd, whose own units are not written here.
    world.write_unit("lerd-reverb-myapp.service", "[Service]\nExecStart=true\n");
    for recipe in &recipes {
        if let Some((name, unit)) = recipe.service() {
            world.write_unit(&format!("{name}.service"), &unit);
            world.daemon_reload();
            let instance = if name.ends_with('@') { format!("{name}mail") } else { name.to_owned() };
            assert_eq!(world.show(&format!("{instance}.service"), "LoadState"), "loaded", "{recipe:?}");
            assert_eq!(world.show(&format!("{instance}.service"), "UnitFileState"), "disabled", "it can be enabled");
        }
        if let Some(settings) = recipe.settings {
            assert_is_accepted(&world, settings);
        }
        assert!(recipe.settings.is_some() || recipe.unit.is_some(), "{recipe:?}");
    }
    let said = Ran::of(world.command("journalctl").args(["--no-pager", "--output=cat", "_COMM=systemd"])).out;
    assert!(!said.contains("ignoring"), "systemd does not know all settings: {said}");
}

#[test]
fn each_configuration_of_the_readme_is_accepted() {
    let world = World::new();
    world.write_unit("celery@.service", "[Service]\nExecStart=true\n");
    world.write_unit("my-app-mail.service", "[Service]\nExecStart=true\n");
    world.write_unit("my-api.service", "[Service]\nExecStart=true\n");
    world.write_unit("mailer.service", "[Service]\nExecStart=true\n");
    world.write_unit("lerd-reverb-myapp.service", "[Service]\nExecStart=true\n");
    world.write_unit("lerd-vite-myapp.service", "[Service]\nExecStart=true\n");
    let blocks: Vec<&str> = blocks(README, "yaml").collect();
    assert!(blocks.len() >= 5, "{blocks:?}");
    for block in blocks {
        assert_is_accepted(&world, block);
    }
}

#[track_caller]
fn assert_is_accepted(world: &World, settings: &str) {
    world.config(settings);
    let ran = world.run(&["check"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{settings}");
}
