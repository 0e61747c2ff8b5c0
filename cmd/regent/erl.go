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
permit/2, load/1,2, ensure_all_started/1 and net_kernel:connect_node/1. The calls
are made one after the other once the node is up; one that fails is logged, and
the node stays.

-kernel KEY TERM sets a parameter of kernel, and -regent KEY TERM one of regent's
own, over what the files say.

What has no counterpart is accepted: silently where nothing depends on it
(-noshell, -noinput, -noinit, -pa, -pz, -mode, -smp, the emulator's flags with a
plus …), with a warning where somebody may count on it (-detached, -heart, -boot,
-proto_dist). What would run code is refused, with a hint.`,
		Example: `  regent erl -sname node1@lxw -config node1 -config apps -eval "application:start(myapp)"
  regent erl -sname node2 -config node2 --data /var/lib/regent
  regent erl -noshell -sname node3@lxw -config node3 -kernel sync_nodes_timeout 30000`,
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
			o.Cookie.Value, o.Eval, o.Params = line.cookie, line.eval, line.params
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
	params   []Param
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
		if len(values) == 2 {
			return withErlHint(usage("erl", "-setcookie NODE COOKIE is not understood"), "a cluster has one cookie: -setcookie COOKIE")
		}
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
	case "-h", "-help":
		l.help = true
		return nil
	case "-kernel", "-regent":
		return l.addParams(name, values)
	}
	return l.foreign(name, values)
}

// foreign flags of erl have no counterpart here.
func (l *erlLine) foreign(name string, values []string) *ExitError {
	if n, ok := harmless[name]; ok {
		if n >= 0 && len(values) > n {
			return usage("erl", "unexpected argument %q after %s", values[n], name)
		}
		return nil
	}
	if strings.HasPrefix(name, "+") {
		return nil // for the emulator
	}
	if why, ok := withoutEffect[name]; ok {
		l.warnings = append(l.warnings, name+" has no effect: "+why)
		if name == "-detached" || name == "-heart" {
			return none(name, values)
		}
		return nil
	}
	if hint, ok := refusedFlags[name]; ok {
		return withErlHint(usage("erl", "%s is not understood", name), hint)
	}
	hint := "of erl's flags these are: -sname -name -config -setcookie -hidden -kernel -eval; node's flags take two dashes"
	if len(values) > 1 && len(values)%2 == 0 {
		hint = "parameters of an application stand in its section of a configuration file; " + hint
	}
	return withErlHint(usage("erl", "%s is not understood", name), hint)
}

// harmless flags are accepted silently: nothing here depends on them. The number
// is how many values they take at most; -1: any.
var harmless = map[string]int{
	"-noshell": 0, "-noinput": 0, "-noinit": 0, "-nostick": 0, "-init_debug": 0, "-emu_args": 0,
	"-pa": -1, "-pz": -1, "-path": -1, "-mode": 1, "-smp": 1, "-root": 1, "-progname": 1, "-home": 1,
	"-boot_var": -1, "-shutdown_time": 1, "-start_epmd": 1, "-epmd_module": 1, "-connect_all": 1,
}

// withoutEffect are flags that somebody may count on.
var withoutEffect = map[string]string{
	"-detached":    "the node stays in the foreground; let a supervisor such as systemd run it",
	"-heart":       "a supervisor such as systemd restarts a node that ends",
	"-boot":        "a node has no boot script; --start APP starts an app as soon as it is up",
	"-proto_dist":  "nodes speak NATS with TLS among one another",
	"-dist_listen": "ports come from the configuration; see --listen",
}

// refusedFlags would run code, or change something behind the node's back.
var refusedFlags = map[string]string{
	"-s":         "a node runs no Erlang code: start an app with -eval \"application:start(APP)\" or --start APP",
	"-run":       "a node runs no Erlang code: start an app with -eval \"application:start(APP)\" or --start APP",
	"-m":         "a node runs no Erlang code",
	"-remsh":     "there is no shell: see regent status, start, stop, takeover, permit and events",
	"-env":       "set the variable before regent: NAME=VALUE regent erl …",
	"-args_file": "write the flags on the command line; the parameters belong into a configuration file",
	"-extra":     "arguments of an app stand in its definition: apps, args",
}

// addParams reads KEY TERM …, as OTP has it for every application.
func (l *erlLine) addParams(name string, values []string) *ExitError {
	if len(values) == 0 || len(values)%2 != 0 {
		return withErlHint(usage("erl", "%s needs pairs of a key and a term", name), "for example -kernel sync_nodes_timeout 5000")
	}
	for i := 0; i < len(values); i += 2 {
		p := Param{Section: name[1:], Key: values[i], Term: values[i+1]}
		if err := p.check(); err != nil {
			return usage("erl", "%s %s: %w", name, p.Key, err)
		}
		l.params = append(l.params, p)
	}
	return nil
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
