package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy/node"
)

func newRemsh() *cobra.Command {
	var t talk
	cmd := &cobra.Command{
		Use:   "remsh NODE",
		Short: "A prompt for the functions of a node",
		Long: `Reads lines and runs them on a node, until exit or the end of the input:

  NAME [ARG...]         run a function and print what it returns
  spawn NAME [ARG...]   start a function and print its PID
  send NAME MSG         send a message to a process by its name

Arguments are those of rpc; a word in single quotes may have spaces. At a
terminal there is a history (up and down), and Tab completes names.`,
		Example: `  regent remsh node2@lxw`,
		Args:    arguments(false, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.with(cmd, args[0], func(ctx context.Context, s *talker, n node.Name) error {
				if err := s.Connect(ctx, n); err != nil {
					return err
				}
				sh := shell{s: s, node: n, out: cmd.OutOrStdout(), errOut: cmd.ErrOrStderr()}
				return sh.run(ctx, cmd.InOrStdin())
			})
		},
	}
	t.bind(cmd)
	return cmd
}

// shell runs lines on a node.
type shell struct {
	s           *talker
	node        node.Name
	out, errOut io.Writer
}

// run reads lines from a terminal, with editing, or from anything else.
func (sh *shell) run(ctx context.Context, in io.Reader) error {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return sh.interactive(ctx, f)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		if sh.line(ctx, lines.Text()) {
			return nil
		}
	}
	return failed("read", lines.Err())
}

const lineMax = 1 << 20 // bytes

// interactive is the prompt. The terminal is as it was when it returns.
func (sh *shell) interactive(ctx context.Context, f *os.File) error {
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return failed("terminal", err)
	}
	defer func() { _ = term.Restore(int(f.Fd()), old) }() // there is nothing else to try
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, sh.out}, "("+string(sh.node)+")> ")
	if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		if err := t.SetSize(w, h); err != nil {
			return failed("terminal", err)
		}
	}
	t.AutoCompleteCallback = sh.complete(ctx)
	sh.out, sh.errOut = t, t
	for {
		line, err := t.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return failed("read", err)
		}
		if sh.line(ctx, line) {
			return nil
		}
	}
}

// line runs one line and reports whether it was the last. What goes wrong is
// printed, and the next line may do better.
func (sh *shell) line(ctx context.Context, line string) (last bool) {
	words, err := splitLine(line)
	switch {
	case err == nil && len(words) == 0:
		return false
	case err == nil && slices.Contains([]string{"exit", "quit"}, words[0]):
		return true
	case err == nil:
		err = sh.do(ctx, words)
	}
	if err != nil {
		fmt.Fprintln(sh.errOut, "regent:", oneLine(err.Error()))
	}
	return false
}

// shellHelp is what help prints.
const shellHelp = `NAME [ARG...]         run a function and print what it returns
spawn NAME [ARG...]   start a function and print its PID
send NAME MSG         send a message to a process by its name
functions             the functions of this node
exit                  leave`

func (sh *shell) do(ctx context.Context, words []string) error {
	switch verb, rest := words[0], words[1:]; {
	case verb == "help":
		return printLine(sh.out, "%s", shellHelp)
	case verb == "spawn" && len(rest) > 0:
		pid, err := sh.s.Spawn(ctx, sh.node, rest[0], argumentOf(rest[1:]))
		if err != nil {
			return err
		}
		return printLine(sh.out, "%s", pid)
	case verb == "send" && len(rest) == 2:
		return sh.s.sendTo(ctx, proc.Name{Name: rest[0], Node: sh.node}, argumentOf(rest[1:]))
	case verb == "spawn":
		return errors.New("expected spawn NAME [ARG...]")
	case verb == "send":
		return errors.New("expected send NAME MSG")
	default:
		result, err := proc.ApplyPayload(ctx, sh.s, sh.node, verb, argumentOf(rest))
		if err != nil {
			return err
		}
		return printPayload(sh.out, result)
	}
}

// complete completes the first word, and the second one after spawn, with the
// names of functions.
func (sh *shell) complete(ctx context.Context) func(line string, pos int, key rune) (string, int, bool) {
	return func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		before := line[:pos]
		start := strings.LastIndex(before, " ") + 1
		names, err := proc.Apply[[]string](ctx, sh.s, sh.node, proc.FunctionNames, nil)
		switch first := strings.TrimSpace(before[:start]); {
		case err != nil:
			return "", 0, false
		case first == "":
			names = append(names, "spawn", "send", "help", "exit")
		case first != "spawn":
			return "", 0, false
		}
		found := extend(before[start:], names)
		return before[:start] + found + line[pos:], start + len(found), true
	}
}

// extend is the longest beginning that all names which begin with s have in
// common, with a space behind it if there is one such name.
func extend(s string, names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, s) })
	if len(names) == 0 {
		return s
	}
	common := names[0]
	for _, n := range names[1:] {
		for !strings.HasPrefix(n, common) {
			common = common[:len(common)-1]
		}
	}
	if len(names) == 1 {
		common += " "
	}
	return common
}

// splitLine takes a line apart at its spaces. A word that begins with a quote
// ends with the next one: in single quotes it is what stands between them, in
// double quotes a JSON string.
func splitLine(line string) (words []string, err error) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end := strings.IndexByte(line, ' ')
		switch line[0] {
		case '\'':
			end = strings.IndexByte(line[1:], '\'') + 2
			if end == 1 {
				return nil, errors.New("a quote is not closed")
			}
			words, line = append(words, line[1:end-1]), line[end:]
			continue
		case '"':
			end = jsonStringEnd(line)
			if end < 0 {
				return nil, errors.New("a quote is not closed")
			}
		}
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
	return words, nil
}

// jsonStringEnd is where the JSON string ends that s begins with; -1: nowhere.
func jsonStringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
