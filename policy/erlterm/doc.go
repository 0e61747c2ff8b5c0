// Package erlterm reads and prints Erlang terms as they stand in files for
// file:consult, such as sys.config.
//
// The grammar, with TERM followed by a dot (a '.' before white space, '%' or
// the end of the file) as often as one likes:
//
//	TERM    = atom | number | "-" number | "+" number | "$"char
//	        | STRING+ | "<<" [SEGMENT {"," SEGMENT}] ">>"
//	        | "[" [TERM {"," TERM} ["|" TERM]] "]"
//	        | "{" [TERM {"," TERM}] "}"
//	        | "#{" [TERM "=>" TERM {"," TERM "=>" TERM}] "}"
//	        | "fun" atom ":" atom "/" integer
//	        | "(" TERM ")"
//	SEGMENT = (STRING+ | integer) [":" bits] ["/" type]      type: utf8, integer
//
// Atoms are plain (node1@lxw) or quoted; reserved words have to be quoted.
// Integers may have a base (16#FF) and underscores. Strings know every escape
// of Erlang, and the triple-quoted form of OTP 27.
//
// Parse returns a tree in which each term knows its bytes in the source.
// Lines and columns (1-based, columns in characters) are computed when asked
// for. Every error is an *Error with its position; a bracket or quote that is
// never closed is reported where it was opened. Parse never panics, whatever
// the input, and nests at most MaxDepth deep.
//
// Not understood, with an error that says so: segments that are not whole
// bytes, other segment types than utf8 and integer, variables, operators and
// sigils. Coding comments for latin-1 are obeyed; anything else must be UTF-8.
package erlterm
