package erlterm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dump prints what file:consult says of each file named in the environment,
// one line a file: "error", or the terms in a form without quotes, escapes or
// choices, so that both sides can produce it.
const dump = `
dump(T) when is_atom(T) -> ["a(", chars(atom_to_list(T)), ")"];
dump(T) when is_integer(T) -> ["i", integer_to_list(T)];
dump(T) when is_float(T) -> B = <<T/float>>, ["f", [io_lib:format("~2.16.0b", [X]) || <<X>> <= B]];
dump(T) when is_binary(T) -> ["b(", chars(binary_to_list(T)), ")"];
dump(T) when is_bitstring(T) -> "bits";
dump(T) when is_tuple(T) -> ["{", [[dump(E), ","] || E <- tuple_to_list(T)], "}"];
dump(T) when is_map(T) ->
    ["#{", [[P, ","] || P <- lists:sort([lists:flatten([dump(K), "=>", dump(V)]) || {K, V} <- maps:to_list(T)])], "}"];
dump(T) when is_list(T) -> ["[", list(T), "]"];
dump(T) when is_function(T) -> {_, M} = erlang:fun_info(T, module), {_, N} = erlang:fun_info(T, name), {_, A} = erlang:fun_info(T, arity),
    ["F(", chars(io_lib:format("~tp:~tp/~p", [M, N, A])), ")"].
list([]) -> [];
list([H|T]) -> [dump(H), ",", list(T)];
list(T) -> ["|", dump(T)].
chars(S) -> [[integer_to_list(C), " "] || C <- lists:flatten(S)].
consult(F) ->
    case catch file:consult(F) of % it crashes on some characters
        {ok, Ts} -> io:put_chars([[[dump(T), "."] || T <- Ts], "\n"]);
        _ -> io:put_chars("error\n")
    end.
main(Fs) -> [consult(F) || F <- Fs].
`

// TestConsult compares this package with the real file:consult.
func TestConsult(t *testing.T) {
	if _, err := exec.LookPath("erl"); err != nil {
		t.Skip("SKIPPED: no erl on PATH: the comparison with file:consult needs Erlang/OTP")
	}
	sources := slices.Concat(seeds, refused)
	got := consult(t, sources)
	for i, src := range sources {
		want := "error"
		if f, err := Parse([]byte(src)); err == nil {
			want = dumpAll(f.Terms)
		}
		if got[i] != want {
			t.Errorf("source:\n%s\nfile:consult: %s\nParse:        %s", src, got[i], want)
		}
	}
	for i, line := range consult(t, stricter) {
		if line == "error" {
			t.Errorf("%s: file:consult refuses it too", stricter[i])
		}
	}
}

// consult runs file:consult on each source.
func consult(t *testing.T, sources []string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dump.erl"), []byte("-module(dump).\n-export([main/1]).\n"+dump), 0o600); err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(sources))
	for i, src := range sources {
		names[i] = fmt.Sprintf("%q", filepath.Join(dir, fmt.Sprint(i)))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eval := fmt.Sprintf("{ok, M, B} = compile:file(dump, [binary]), {module, _} = code:load_binary(M, [], B), dump:main([%s]), halt().", strings.Join(names, ","))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "erl", "-noshell", "-eval", eval)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(bytes.TrimSuffix(out, []byte("\n"))), "\n")
	if err != nil || len(lines) != len(sources) {
		t.Fatalf("erl: %v, %d lines for %d sources:\n%s", err, len(lines), len(sources), out)
	}
	return lines
}

func dumpAll(terms []Term) string {
	var b strings.Builder
	for _, t := range terms {
		b.WriteString(dumpTerm(t) + ".")
	}
	return b.String()
}

func dumpTerm(t Term) string {
	switch t.Kind {
	case Atom:
		return "a(" + numbers([]rune(t.Text)) + ")"
	case Integer:
		return "i" + t.Text
	case Float:
		return dumpFloat(t)
	case Binary:
		return "b(" + numbers([]byte(t.Text)) + ")"
	case Fun:
		return "F(" + numbers([]rune(t.Text)) + ")"
	case Map:
		return dumpMap(t)
	case Tuple:
		return "{" + dumpElems(t) + "}"
	case List:
		return "[" + dumpElems(t) + "]"
	}
	var b strings.Builder
	for _, r := range t.Text {
		fmt.Fprintf(&b, "i%d,", r)
	}
	return "[" + b.String() + "]"
}

func dumpElems(t Term) string {
	var b strings.Builder
	for _, e := range t.Elems {
		b.WriteString(dumpTerm(e) + ",")
	}
	if t.Tail != nil {
		b.WriteString("|" + dumpTerm(*t.Tail))
	}
	return b.String()
}

func dumpMap(t Term) string {
	last := map[string]string{}
	for i := 0; i < len(t.Elems); i += 2 {
		last[dumpTerm(t.Elems[i])] = dumpTerm(t.Elems[i+1])
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(last)) {
		pairs = append(pairs, k+"=>"+last[k]+",")
	}
	slices.Sort(pairs)
	return "#{" + strings.Join(pairs, "") + "}"
}

func dumpFloat(t Term) string {
	var f float64
	if _, err := fmt.Sscan(t.Text, &f); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("f%016x", math.Float64bits(f))
}

func numbers[T rune | byte](chars []T) string {
	var b strings.Builder
	for _, c := range chars {
		fmt.Fprintf(&b, "%d ", c)
	}
	return b.String()
}
