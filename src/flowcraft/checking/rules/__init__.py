"""Rules: the checklist of a realtime channel. Each rule is a function from facts to faults."""

from flowcraft.checking.findings import Rule
from flowcraft.checking.rules import covering, declaring, generating, installing, naming, subscribing

SERVICE: tuple[Rule, ...] = (
    Rule(
        "FC001",
        "error",
        "The module of the channels can be imported: events, names and sources are valid",
        declaring.can_be_imported,
    ),
    Rule("FC002", "error", "The service's sources are valid Python", declaring.can_be_parsed),
    Rule("FC003", "error", "A broadcast names a declared channel", declaring.names_a_channel),
    Rule("FC004", "error", "A broadcast is awaited", declaring.is_awaited),
    Rule("FC005", "error", "A broadcast has an event of the channel's type", declaring.carries_the_event),
    Rule(
        "FC006",
        "warning",
        "Every channel has a source, or a service that broadcasts it",
        declaring.is_produced,
    ),
)
WEB: tuple[Rule, ...] = (
    Rule("FC010", "error", "The web folder's TypeScript can be read", generating.can_be_read),
    Rule("FC011", "error", "The web folder's sources are valid TypeScript", generating.can_be_parsed),
    Rule("FC012", "error", "The web folder has generated TypeScript", generating.exists),
    Rule("FC013", "error", "The generated TypeScript is up to date", generating.is_current),
    Rule("FC020", "error", "Every subscribed channel is declared", subscribing.is_declared),
    Rule("FC021", "error", "Every builder of a channel's name exists", subscribing.builder_exists),
    Rule("FC022", "warning", "Every declared channel has a subscriber", subscribing.is_subscribed),
    Rule(
        "FC023",
        "warning",
        "A handler of a channel of many rows has onGone",
        subscribing.removes_what_is_gone,
    ),
    Rule(
        "FC040",
        "warning",
        "Hooks that subscribe are in features/<feature>/hooks",
        naming.hooks_are_in_their_folder,
    ),
    Rule(
        "FC041",
        "error",
        "The file of a hook that subscribes is called use-<feature>.ts",
        naming.file_is_named_after_its_hook,
    ),
    Rule(
        "FC042",
        "error",
        "A hook that subscribes has the name of its file",
        naming.hook_is_named_after_its_file,
    ),
)
DATABASE: tuple[Rule, ...] = (
    Rule("FC050", "error", "The database can be reached", installing.can_be_reached),
    Rule("FC051", "error", "PostgreSQL is version 14 or later", installing.is_new_enough),
    Rule("FC052", "error", "The server is a primary", installing.is_primary),
    Rule("FC053", "warning", "A NOTIFY reaches a LISTEN: no pooler drops it", installing.notify_arrives),
    Rule("FC054", "error", "The schema flowcraft exists and is up to date", installing.is_up_to_date),
    Rule("FC055", "error", "The schema flowcraft is not newer than this version", installing.is_not_ahead),
    Rule("FC056", "error", "The table of every source exists", installing.table_exists),
    Rule("FC057", "error", "Every field of a source has its column", installing.column_exists),
    Rule("FC058", "error", "Every column fits the type of its field", installing.column_fits),
    Rule(
        "FC059",
        "warning",
        "A nullable column has a field that may be null",
        installing.null_is_allowed,
    ),
    Rule("FC060", "error", "The triggers of every source are installed", installing.is_installed),
    Rule("FC061", "error", "Installed triggers match their declaration", installing.is_what_is_declared),
    Rule("FC062", "error", "Triggers are enabled", installing.is_enabled),
    Rule(
        "FC063",
        "warning",
        "No trigger remains of a source that is no longer declared",
        installing.nothing_is_left_over,
    ),
    Rule(
        "FC064",
        "error",
        "Every function of the schema flowcraft pins its search_path",
        installing.search_path_is_pinned,
    ),
    Rule("FC065", "warning", "The role may broadcast", installing.may_broadcast),
    Rule("FC066", "warning", "The role may read the log", installing.may_read),
    Rule(
        "FC067",
        "warning",
        "The role has the privileges that the checks need",
        installing.everything_was_compared,
    ),
    Rule(
        "FC068",
        "error",
        "No other role has anything in the schema flowcraft, or can put it there",
        installing.nothing_is_of_others,
    ),
    Rule(
        "FC069",
        "error",
        "The migrations of the schema flowcraft are those of this version",
        installing.has_the_migrations_of_this_version,
    ),
    Rule(
        "FC070",
        "warning",
        "Every partition and child of a source's table has the triggers",
        covering.partitions_have_triggers,
    ),
    Rule("FC071", "warning", "A source's table is no part of another", covering.is_no_part_of_another),
    Rule("FC072", "warning", "The rows of a source are found again by a key", covering.rows_have_a_key),
    Rule("FC073", "warning", "Every value that names a channel can do so", covering.values_are_names),
    Rule(
        "FC074",
        "warning",
        "Every value of a column is one that its field lists",
        covering.values_are_listed,
    ),
    Rule("FC075", "warning", "The rows of a channel are looked up by an index", covering.rows_have_an_index),
    Rule(
        "FC076",
        "warning",
        "No other role can LISTEN to the events of a channel with a guard",
        covering.no_other_role_listens,
    ),
)
RULES: tuple[Rule, ...] = (*SERVICE, *WEB, *DATABASE)
"""The checklist, from the declaration to the database."""
