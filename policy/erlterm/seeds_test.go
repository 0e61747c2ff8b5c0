package erlterm

// seeds are sources that file:consult accepts. TestConsult compares each with
// the real one, FuzzParse starts from them.
var seeds = []string{
	"",
	"% nothing\n",
	"a. b.\nc.",
	"node1@lxw. 'node1@host.example.org'. 'hello world'. 'it\\'s'. ''. ßa. é@. maybe. else. aB_1@.",
	"'\\x{400}'. '\\n'. 'end'.",
	"1. -1. +1. - 1. 0. -0. 1_000. 16#FF. 16#ff. 2#1010. 36#Zz. 16#F_F. -16#10. 123456789012345678901234567890.",
	"(1). -(1). {a,(b)}. ((a)).",
	"$a. $\\n. $\\s. $ . $\\x41. $\\x{1F600}. $\\101. $\\400. $\\^a. $\\^@. $\\\\. $%. $\". -$a. $é. $\\d. $\\e.",
	"1.0. -1.5. 1.5e3. 1.5E-3. 1.0e+10. 1_0.2_5. 0.0. 1.0e-300. 123456789.0e10. 3.0e22. -0.0.",
	`"abc". "". "a" "b". "a\nb\t\"\\\x41\x{20AC}\101". "é→😀". "\^A\^z\e\d\s\v\b\f\r". "\q".`,
	"\"a\\\nb\". \"a\nb\". \"a\" % c\n \"b\".",
	`<<>>. <<"abc">>. <<"é">>. <<"é"/utf8>>. <<1,2,3>>. <<300>>. <<-1>>. <<"a","b",99>>. <<$a>>. <<"→">>. <<"→"/utf8>>.`,
	`<<1:16>>. <<"ab":16>>. <<-2:24>>. <<16#1F600/utf8>>. <<"a" "b">>. <<(1)>>. <<1/integer>>. <<258:16/integer>>. <<1:128>>.`,
	"[]. [a]. [a,b|c]. [a|[b]]. [a|\"bc\"]. [a|[b|c]]. [[],[[]]]. [97,98]. [a|[]]. [\"a\"|b].",
	"{}. {a}. {a,{b,[c]}}. {a , b }.",
	"#{}. #{a => 1}. #{a=><<1>>,\"b\" => #{}}. #{ {a,b} => [] }. #{a => 1, a => 2}.",
	"fun lists:map/2. {fun 'A b':c/1, stop}.",
	"{a,%comment }\n b}.%end",
	"%% -*- coding: utf-8 -*-\n\"é\".",
	"%% coding: latin-1\n\"\xe9\". \xe9a.",
	"a.%b\nc.\t",
	"\x01{a\x0c,\xc2\xa0b}.",
	`[{kernel,
  [{distributed, [{myapp, 5000, ['node1@lxw', {'node2@lxw', 'node3@lxw'}]}]},
   {sync_nodes_mandatory, ['node2@lxw', 'node3@lxw']},
   {sync_nodes_timeout, infinity},
   {logger, [{handler, default, logger_std_h, #{filters => [{p, {fun logger_filters:progress/2, stop}}]}}]}]},
 "other.config",
 {myapp, [{key, <<"v"/utf8>>}, {f, 1.5}]}].`,
}

// refused are sources that file:consult refuses, and so do we.
var refused = []string{
	"a", "a b.", "{a.", "[a", "[a,].", "{a,}.", "{,a}.", "[|a].", "[a|b|c].", "[a|b,c].", "A.", "_.", "let.", "cond.", "end.",
	"--1.", "+a.", "-a.", "1+2.", "1__0.", "37#1.", "1#0.", "16#.", "1.0e400.", "1.0e.", "a.b.", "$", "$\\", "\"abc", "'abc",
	"\"\\x{D800}\".", "\"\\x{110000}\".", "\"\\xZ\".", "<<1.5>>.", "<<a>>.", "<<\"a\".", "#{a}.", "#{a := 1}.", "#{a => }.", ".", "a, b.",
	"fun a/1.", "fun a:b.", "\xff.", "\"\xff\".", "{a;b}.", "a..", "[a b].", "{a}}.", "(1.", "()", "<<1:a>>.", "?A.", "12ab.",
}

// stricter are sources that Erlang accepts and we refuse on purpose: each is
// an error that says so.
var stricter = []string{"<<1:4>>.", "<<1.5/float>>.", "<<1:8/unit:2>>."}
