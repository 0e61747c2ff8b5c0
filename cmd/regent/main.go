package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager"
)

func main() {
	manager.Main()
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// endSignals ask for a graceful end. Under nohup a hang-up stays ignored.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// Main runs one command and returns the exit code. The end of ctx is the
// signal to stop.
func Main(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	return report(errOut, root.ExecuteContext(ctx))
}

func newRoot() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "regent",
		Short: "Erlang/OTP distributed applications for any program, on NATS",
		Long: `regent runs an application on one of several nodes: on the first of a list
that is up, and on the next one when that node dies, as Erlang/OTP's distributed
applications do, for any program. NATS is inside.`,
		Example: `  regent demo
  regent node --sname node1@lxw --config node1.config --start myapp
  regent status --watch`,
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHelp(cmd, usage(title(cmd), "%w", err))
	})
	root.PersistentFlags().SortFlags = false
	root.AddGroup(
		&cobra.Group{ID: groupNode, Title: "Run a node:"},
		&cobra.Group{ID: groupApps, Title: "Applications:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupTalk, Title: "Messages:"},
		&cobra.Group{ID: groupSetup, Title: "Set up:"},
	)
	add := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add(groupNode, newNode(), newErl(), newDemo())
	add(groupApps, newStart(), newStop(), newTakeover(), newPermit())
	add(groupLook, newStatus(), newNodes(), newApps(), newWhy(), newEvents(), newVerify())
	add(groupTalk, newPing(), newRPC(), newSpawn(), newSend(), newRemsh(), newNet())
	add(groupSetup, newDoctor(), newConfig(), newCookie(), newBackup(), newRestore(), newVersion())
	root.AddCommand(newDemoApp())
	return root
}

// Groups of commands in the help.
const (
	groupNode  = "node"
	groupApps  = "apps"
	groupLook  = "look"
	groupTalk  = "talk"
	groupSetup = "setup"
)

// group makes a command that only holds others: alone it shows its help, and
// anything but one of them is an error.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := usage(title(cmd), "unknown command %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err.Hint = "did you mean " + near[0] + "?"
			return err
		}
		return withHelp(cmd, err)
	}
	return cmd
}

// title is what errors call a command: its path below the program.
func title(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ""
	}
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func withHelp(cmd *cobra.Command, err *ExitError) *ExitError {
	if err.Hint == "" {
		err.Hint = "see " + cmd.CommandPath() + " --help"
	}
	return err
}

// arguments checks the number of a command's arguments: names says what they
// are, and with more the last may be repeated.
func arguments(more bool, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return withHelp(cmd, usage(title(cmd), "%s is missing", names[len(args)]))
		case len(args) > len(names) && !more:
			return withHelp(cmd, usage(title(cmd), "unexpected argument %q", args[len(names)]))
		}
		return nil
	}
}
