package app

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Root returns the command clixnow. Its flags set the fields of a.
func Root(a *App, commands ...*cobra.Command) *cobra.Command {
	root := Group("clixnow", "Work with the Clixnow affiliate lead API", rootHelp, commands...)
	root.AddCommand(manual(), &cobra.Command{Use: "config", Short: "How to configure clixnow", Long: configHelp})
	root.Version = Version()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	// pflag may exceed the width by five columns.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	flags := root.PersistentFlags()
	flags.StringVar(&a.Brand, "brand", "", "the `BRAND` to talk to")
	flags.StringVar(&a.BaseURL, "base-url", "", "the `URL` of another host that serves the API")
	flags.StringVar(&a.TokenFile, "token-file", "", "the `FILE` that holds the token")
	flags.StringVar(&a.ConfigFile, "config", "", "the configuration `FILE`")
	flags.BoolVar(&a.Demo, "demo", false, "talk to a fake brand on this machine")
	_ = root.RegisterFlagCompletionFunc("brand",
		func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			file, _, _ := a.load() // The command itself reports a mistake.
			return slices.Sorted(maps.Keys(file.Brands)), cobra.ShellCompDirectiveNoFileComp
		})
	adaptDefaults(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage("%w; see \"%s --help\"", err, cmd.CommandPath())
	})
	return root
}

// adaptDefaults changes commands of cobra: they accept unknown commands, and
// their texts are too wide.
func adaptDefaults(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, runGroup
			for _, shell := range cmd.Commands() {
				shell.Long = strings.NewReplacer("\t", "  ", "your OS's", "the").Replace(shell.Long)
			}
		case "help":
			cmd.Run, cmd.RunE = nil, func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 {
					return Usage("unknown command %q; see \"clixnow --help\"", strings.Join(args, " "))
				}
				topic.InitDefaultHelpFlag()
				return topic.Help()
			}
		}
	}
}

// Group returns a command that only has subcommands.
func Group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs, RunE: runGroup, SuggestionsMinimumDistance: 2,
	}
	group.AddCommand(commands...)
	return group
}

func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		return Usage("unknown command %q: did you mean \"%s %s\"?", args[0], cmd.CommandPath(), similar[0])
	}
	return Usage("unknown command %q; see \"%s --help\"", args[0], cmd.CommandPath())
}

// Args checks the number of arguments, and names them in the error.
func Args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return Usage("%s is missing; see \"%s --help\"", names[len(args)], cmd.CommandPath())
		case len(args) > len(names):
			return Usage("unexpected argument %q; see \"%s --help\"", args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

func manual() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write the manual pages into a folder", Args: Args("FOLDER"),
		Example: "  clixnow man ~/.local/share/man/man1 && man clixnow",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // everyone may read manual pages
				return err
			}
			cmd.Root().DisableAutoGenTag = true
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Section: "1"}, args[0])
		},
	}
}
