package osproc

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

// TestOnce: what a command prints and how it ends, a bounded part of it; and no
// secrets in its environment.
func TestOnce(t *testing.T) {
	t.Setenv("REGENT_COOKIE", "secret")
	for _, tc := range []struct {
		words  []string
		status int
		output string
		cut    bool
	}{
		{[]string{"echo", "a b", "$HOME"}, 0, "a b $HOME\n", false},
		{[]string{"sh", "-c", "echo out; echo err >&2; exit 3"}, 3, "out\nerr\n", false},
		{[]string{"sh", "-c", "kill -9 $$"}, 137, "", false},
		{[]string{"cat"}, 0, "", false},
		{[]string{"sh", "-c", "echo $REGENT_COOKIE"}, 0, "\n", false},
		{[]string{"sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x; echo end >&2; exit 1"}, 1, strings.Repeat("x", 1000), true},
		{[]string{"sh", "-c", "sleep 1000 & echo left"}, 0, "left\n", false}, // TestMain looks for what is left
	} {
		f, err := Once(t.Context(), tc.words, 1000)
		if err != nil || f.Status != tc.status || string(f.Output) != tc.output || f.Truncated != tc.cut {
			t.Errorf("%q: status %d, truncated %t, %.100q: %v", tc.words, f.Status, f.Truncated, f.Output, err)
		}
	}
	for _, words := range [][]string{nil, {""}, {"no-such-program-at-all"}, {"/etc/passwd"}} {
		if f, err := Once(t.Context(), words, 1000); err == nil {
			t.Errorf("%q: %+v", words, f)
		}
	}
	if _, err := Once(t.Context(), []string{"no-such-program-at-all"}, 1000); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestOnceIsCutOff: at the end of its context a command is killed with all its
// group.
func TestOnceIsCutOff(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, why)
	defer cancel()
	if f, err := Once(ctx, []string{"sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000; sleep 1000"}, 1000); !errors.Is(err, why) {
		t.Errorf("%+v, %v", f, err)
	}
}
