package app

import (
	"strings"

	"github.com/spf13/cobra"
)

// Root returns the command clixnow. Its flags set the fields of a.
func Root(a *App, commands ...*cobra.Command) *cobra.Command {
	root := Group("clixnow", "Work with the Clixnow affiliate lead API", commands...)
	root.Long = rootHelp
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.Brand, "brand", "", "the brand to talk to")
	flags.StringVar(&a.BaseURL, "base-url", "", "the `URL` of another host that serves the API")
	flags.StringVar(&a.TokenFile, "token-file", "", "the `FILE` that holds the token")
	flags.StringVar(&a.ConfigFile, "config", "", "the configuration `FILE`")
	flags.BoolVar(&a.Demo, "demo", false, "use a fake brand on this machine")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage("%w; see \"%s --help\"", err, cmd.CommandPath())
	})
	return root
}

// Group returns a command that only has subcommands.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			cmd.SuggestionsMinimumDistance = 2
			if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
				return Usage("unknown command %q: did you mean \"%s %s\"?", args[0], cmd.CommandPath(),
					strings.Join(similar, "\" or \""))
			}
			return Usage("unknown command %q; see \"%s --help\"", args[0], cmd.CommandPath())
		},
	}
	group.AddCommand(commands...)
	return group
}

const rootHelp = `clixnow registers leads at a brand of the Clixnow affiliate lead API,
and reads their status and first deposit. It is not made by Clixnow.

Exit codes:
  0  done
  1  refused
  2  the command line, a file or the configuration is wrong
  3  try again later
  4  the token or the host is wrong
  5  in doubt: the lead may exist`
