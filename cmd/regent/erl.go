package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newErl() *cobra.Command {
	return &cobra.Command{
		Use:   "erl -sname NAME -config FILE [-setcookie COOKIE] [-hidden] [-eval EXPRS]",
		Short: "Run a node, with the flags of the Erlang start script",
		Long: `Runs a node as "regent node" does, with the flags of erl: -sname, -name,
-config (repeatable; ".config" may be left off), -setcookie, -hidden and -eval.
Every flag of "regent node" works too, with two dashes.

-eval understands, joined by commas: application:start/1,2, stop/1, takeover/2,
permit/2, load/1, ensure_all_started/1 and net_kernel:connect_node/1. The calls
are made one after the other once the node is up; one that fails is logged, and
the node stays.

-noshell, -noinput, -noinit, -pa and -pz are accepted and have no effect: a node
has no shell and loads no code. -detached is accepted with a warning: the node
stays in the foreground.`,
		Example: `  regent erl -sname node1@lxw -config node1 -config apps -eval "application:start(myapp)"
  regent erl -sname node2 -config node2 --data /var/lib/regent`,
		DisableFlagParsing: true, // one dash
		RunE: func(cmd *cobra.Command, args []string) error {
			line, err := parseErl(args)
			if err != nil {
				return withHelp(cmd, err)
			}
			if line.help {
				return cmd.Help()
			}
			o, optErr := line.flags.options(cmd.OutOrStdout(), cmd.ErrOrStderr())
			if optErr != nil {
				return optErr
			}
			o.Cookie.Value, o.Eval = line.cookie, line.eval
			for _, w := range line.warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "regent: warning:", w)
			}
			return failed("node "+string(o.Name), runNode(cmd.Context(), *o))
		},
	}
}

// erlLine is a command line of erl.
type erlLine struct {
	flags    nodeFlags
	cookie   string
	eval     []EvalCall
	warnings []string
	help     bool
}

// parseErl reads the arguments of erl: flags with one dash, each with the
// values up to the next flag, and flags of node with two.
func parseErl(args []string) (*erlLine, *ExitError) {
	l := &erlLine{}
	fs := pflag.NewFlagSet("erl", pflag.ContinueOnError)
	fs.Usage = func() {} // cobra prints the help
	l.flags.bind(fs)
	var long []string
	for len(args) > 0 {
		arg := args[0]
		if isLong(arg) {
			n := longArgs(fs, args)
			long = append(long, args[:n]...)
			args = args[n:]
			continue
		}
		values := upToFlag(args[1:])
		if err := l.flag(arg, values); err != nil {
			return nil, err
		}
		args = args[1+len(values):]
	}
	// Flags of node come last, so that --sname after -sname is seen as both.
	dashed := l.flags.config
	if err := fs.Parse(long); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return &erlLine{help: true}, nil
		}
		return nil, usage("erl", "%w", err)
	}
	if fs.Changed("config") {
		l.flags.config = append(dashed, l.flags.config...)
	}
	return l, nil
}

func isLong(arg string) bool { return strings.HasPrefix(arg, "--") && len(arg) > 2 }

// longArgs is how many arguments a flag of node takes: two if its value is
// the next one.
func longArgs(fs *pflag.FlagSet, args []string) int {
	name, _, hasValue := strings.Cut(strings.TrimPrefix(args[0], "--"), "=")
	f := fs.Lookup(name)
	if hasValue || f == nil || f.NoOptDefVal != "" || len(args) < 2 {
		return 1
	}
	return 2
}

// upToFlag are the values of a flag of erl.
func upToFlag(args []string) []string {
	for i, a := range args {
		if len(a) > 1 && (a[0] == '-' || a[0] == '+') {
			return args[:i]
		}
	}
	return args
}

func (l *erlLine) flag(name string, values []string) *ExitError {
	switch name {
	case "-sname":
		return single(name, values, &l.flags.sname)
	case "-name":
		return single(name, values, &l.flags.name)
	case "-setcookie":
		l.warnings = append(l.warnings, "-setcookie: other users of this machine can see the arguments of a process; better keep the cookie in a file")
		return single(name, values, &l.cookie)
	case "-config":
		if len(values) == 0 {
			return usage("erl", "-config needs a file")
		}
		l.flags.config = append(l.flags.config, values...)
		return nil
	case "-eval":
		return l.addEval(values)
	case "-hidden":
		l.flags.hidden = true
		return none(name, values)
	case "-noshell", "-noinput", "-noinit":
		return none(name, values)
	case "-detached":
		l.warnings = append(l.warnings, "-detached has no effect: the node stays in the foreground")
		return none(name, values)
	case "-pa", "-pz":
		return nil
	case "-h", "-help":
		l.help = true
		return nil
	case "-kernel":
		return withErlHint(usage("erl", "-kernel is not understood"), "put the parameters into the kernel section of a configuration file")
	}
	return withErlHint(usage("erl", "%s is not understood", name),
		"of erl's flags these are: -sname -name -config -setcookie -hidden -eval; node's flags take two dashes")
}

func withErlHint(e *ExitError, hint string) *ExitError {
	e.Hint = hint
	return e
}

// single takes the one value of a flag.
func single(name string, values []string, into *string) *ExitError {
	switch {
	case len(values) == 0:
		return usage("erl", "%s needs a value", name)
	case len(values) > 1:
		return usage("erl", "unexpected argument %q after %s %s", values[1], name, values[0])
	case *into != "":
		return usage("erl", "%s is given twice", name)
	}
	*into = values[0]
	return nil
}

func none(name string, values []string) *ExitError {
	if len(values) > 0 {
		return usage("erl", "unexpected argument %q after %s", values[0], name)
	}
	return nil
}

func (l *erlLine) addEval(values []string) *ExitError {
	var expr string
	if err := single("-eval", values, &expr); err != nil {
		return err
	}
	calls, err := parseEval(expr)
	if err != nil {
		return withErlHint(usage("-eval", "%w", err), "understood are "+evalList)
	}
	l.eval = append(l.eval, calls...)
	return nil
}
