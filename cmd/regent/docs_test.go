package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestTypedCommandsParse: every command line in the documents, and in the
// examples of the help, has a command that exists, with flags and arguments
// that it takes.
func TestTypedCommandsParse(t *testing.T) {
	lines := typedInHelp(newRoot())
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/adr/*.md", "examples/*/README.md"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no documents %s (%v)", pattern, err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, typedIn(file, string(src))...)
		}
	}
	for _, l := range lines {
		if err := l.parse(); err != nil {
			t.Errorf("%s: %s: %v", l.where, l.text, err)
		}
	}
	if len(lines) < 60 {
		t.Errorf("found only %d command lines: the test looks for the wrong thing", len(lines))
	}
}

// TestWrongCommandsAreNoticed: the test above would see what is wrong.
func TestWrongCommandsAreNoticed(t *testing.T) {
	for _, text := range []string{
		"regent statsu", "regent cookie crads", "regent stop myapp --everywhere", "regent permit myapp",
		"regent erl -sname", "regent nodes --json two many", "regent status     on one screen (--witch)",
	} {
		if err := (typed{text: text}).parse(); err == nil {
			t.Errorf("%s: nothing is found wrong", text)
		}
	}
}

// typed is a command line as a document shows it.
type typed struct {
	where, text string
	inline      bool // within a sentence, where a name alone stands for the command
}

var (
	fencedBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	inlineSpan  = regexp.MustCompile("`(regent [^`\n]+)`")
	commandLine = regexp.MustCompile(`(?m)^\s*(?:\$ )?(regent .*)$`)
	longFlag    = regexp.MustCompile(`--([a-z-]+)`)
)

func typedIn(where, text string) (lines []typed) {
	for _, block := range fencedBlock.FindAllStringSubmatch(text, -1) {
		lines = append(lines, commandLines(where, block[1])...)
	}
	for _, m := range inlineSpan.FindAllStringSubmatch(fencedBlock.ReplaceAllString(text, ""), -1) {
		lines = append(lines, typed{where, m[1], true})
	}
	return lines
}

func typedInHelp(cmd *cobra.Command) []typed {
	lines := commandLines("help of "+cmd.CommandPath(), cmd.Example)
	for _, sub := range cmd.Commands() {
		lines = append(lines, typedInHelp(sub)...)
	}
	return lines
}

func commandLines(where, text string) (lines []typed) {
	for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
		lines = append(lines, typed{where, m[1], false})
	}
	return lines
}

// parse reads the line as the program would, up to running it. What stands
// behind two spaces is a remark, which may name more flags.
func (l typed) parse() error {
	text, remark, _ := strings.Cut(l.text, "  ")
	text, _, _ = strings.Cut(text, " >") // where it goes is the shell's
	cmd, rest, err := newRoot().Find(words(text)[1:])
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if cmd.DisableFlagParsing {
		if _, err := parseErl(rest); err != nil {
			return err
		}
		return nil
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	for _, m := range longFlag.FindAllStringSubmatch(remark, -1) {
		if cmd.Flag(m[1]) == nil {
			return fmt.Errorf("unknown flag %s", m[0])
		}
	}
	args := cmd.Flags().Args()
	switch {
	case cmd.HasSubCommands() && len(args) > 0:
		return fmt.Errorf("unknown command %q", args[0])
	case l.inline && len(args) == 0 || help(cmd):
		return nil
	}
	if err := cmd.ValidateArgs(args); err != nil {
		return err
	}
	return cmd.ValidateRequiredFlags()
}

func help(cmd *cobra.Command) bool {
	asked, err := cmd.Flags().GetBool("help")
	return err == nil && asked
}

// words splits a line as a shell does, up to what ends the command.
func words(text string) (list []string) {
	word := regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`)
	for _, w := range word.FindAllString(text, -1) {
		if slices.Contains([]string{"#", "|", "&&", ";", ">", "&"}, w) {
			break
		}
		list = append(list, strings.Trim(w, `"'`))
	}
	return list
}
