%% The app of every scenario on a real Erlang node, and the node's control: one
%% command a line on standard input, one event a line (with @ in front) on
%% standard output. The words are those of the Go node beside it.
-module(conform).
-behaviour(application).
-export([boot/0, start/2, start_phase/3, prep_stop/1, stop/1]).

%% After the boot of the node: loads the apps of the file that -conform names.
boot() ->
    {ok, [[File, Suffix]]} = init:get_argument(conform),
    persistent_term:put(suffix, Suffix),
    Boot = self(),
    spawn(fun() -> receive after 1000 -> watch(erlang:monotonic_time(millisecond)) end end),
    spawn(fun() -> register(conform, self()), open(Boot) end),
    receive ready -> ok end,
    {ok, Apps} = file:consult(File),
    [ok = application:load(spec(App, Keys)) || {App, Keys} <- Apps],
    [persistent_term:put({unloaded, App}, spec(App, Keys)) || {unloaded, App, Keys} <- Apps],
    say([up]),
    spawn(fun() -> say([known | [base(N) || N <- known()]]) end),
    ok.

spec(App, Keys) ->
    {application, App,
     [{description, "an app of a scenario"}, {vsn, "1"}, {modules, []}, {registered, []},
      {applications, [kernel, stdlib]}, {mod, module(App, Keys)} | Keys]}.

%% The phases of the parts of an app are called for those that ask for it.
module(App, Keys) ->
    case lists:keymember(included_applications, 1, Keys) of
        true -> {application_starter, [conform, [App]]};
        false -> {conform, [App]}
    end.

%% Tells when this node did not get the processor in time.
watch(Since) ->
    timer:sleep(100),
    case erlang:monotonic_time(millisecond) of
        Now when Now - Since > 400 -> say([starved]), watch(Now);
        Now -> watch(Now)
    end.

%% The nodes whose dist_ac this one has met. It answers late or never while it
%% waits for another (A-23).
known() -> try gen_server:call(dist_ac, get_known_nodes, infinity) catch exit:_ -> [node()] end.

%% --- the application callbacks

start(Type, [App]) ->
    say([start, App | kind(Type)]),
    timer:sleep(setting(App, start, 0)),
    case setting(App, fail, false) of
        true -> say([failed, App]), {error, boom};
        false ->
            Top = spawn_link(fun() -> process_flag(trap_exit, true), top(App) end),
            say([started, App]),
            {ok, Top, App}
    end.

start_phase(_Phase, Type, [App, Name]) -> say([phase, App, Name | kind(Type)]), ok.

prep_stop(App) ->
    case application:get_env(App, prep) of
        {ok, true} -> say([prep, App]);
        undefined -> ok
    end,
    App.

stop(App) ->
    timer:sleep(setting(App, stop, 0)),
    say(['end', App]),
    ok.

top(App) ->
    receive
        {'EXIT', _, Reason} -> exit(Reason);
        {exit_now, App, Reason} -> exit(Reason);
        {exit_now, _, _} -> top(App)
    end.

kind(normal) -> [normal];
kind({How, Node}) -> [How, base(Node)].

setting(App, Key, Default) -> persistent_term:get({App, Key}, Default).

%% --- the control

open(Boot) ->
    Port = open_port({fd, 0, 1}, [in, out, eof, {line, 65536}]),
    Boot ! ready,
    loop(Port).

loop(Port) ->
    receive
        {say, Line} -> port_command(Port, Line), loop(Port);
        {Port, {data, {eol, Line}}} -> do(string:lexemes(Line, " ")), loop(Port);
        {Port, eof} -> erlang:halt(0, [{flush, false}])
    end.

do(["call", Number, "load", App, Timeout | List]) ->
    A = list_to_atom(App),
    call(Number, fun() -> application:load(persistent_term:get({unloaded, A}), entry(A, Timeout, List)) end);
do(["call", Number, "apply", App, Timeout | List]) ->
    A = list_to_atom(App),
    call(Number, fun() ->
        {ok, Was} = application:get_env(kernel, distributed),
        Is = lists:keystore(A, 1, Was, entry(A, Timeout, List)),
        application:set_env(kernel, distributed, Is),
        kernel:config_change([{distributed, Is}], [], [])
    end);
do(["call", Number, Verb, App | Args]) ->
    F = list_to_atom(Verb), A = [list_to_atom(X) || X <- [App | Args]],
    call(Number, fun() -> apply(application, F, A) end);
do(["slow", Key, App, Ms]) -> persistent_term:put({list_to_atom(App), list_to_atom(Key)}, list_to_integer(Ms));
do(["fail", App]) -> persistent_term:put({list_to_atom(App), fail}, true);
do(["mend", App]) -> persistent_term:put({list_to_atom(App), fail}, false);
do(["exit", App, How]) ->
    Reason = case How of "normal" -> normal; "crash" -> boom end,
    A = list_to_atom(App),
    %% Whoever is not the top process of this app ignores it.
    [P ! {exit_now, A, Reason} || P <- processes(), is_top(P)];
do(["down"]) -> init:stop();
do(["split" | Nodes]) -> [erlang:set_cookie(full(N), node()) || N <- Nodes];
do(["drop" | Nodes]) -> [erlang:disconnect_node(full(N)) || N <- Nodes];
do(["trust" | Nodes]) -> [erlang:set_cookie(full(N), erlang:get_cookie()) || N <- Nodes];
do(["connect" | Nodes]) -> [net_kernel:connect_node(full(N)) || N <- Nodes].

call(Number, F) ->
    spawn(fun() ->
        Result = try F() catch exit:R -> {exit, R} end,
        say([reply, Number, io_lib:format("~0p", [Result])])
    end).

%% An entry of distributed; equals have commas between them.
entry(App, Timeout, List) ->
    {App, list_to_integer(Timeout), [group([full(N) || N <- string:lexemes(G, ",")]) || G <- List]}.

group([N]) -> N;
group(Ns) -> list_to_tuple(Ns).

is_top(P) ->
    case erlang:process_info(P, current_function) of
        {current_function, {conform, top, 1}} -> true;
        _ -> false
    end.

say(Words) ->
    Line = lists:join($\s, [if is_atom(W) -> atom_to_list(W); true -> W end || W <- Words]),
    conform ! {say, ["@ ", integer_to_list(os:system_time(nanosecond)), " ", Line, "\n"]}.

%% Nodes are called by their names in the scenario; the rest is the same for all
%% nodes of one.
base(Node) -> hd(string:split(atom_to_list(Node), persistent_term:get(suffix))).
full(Base) -> list_to_atom(Base ++ persistent_term:get(suffix)).
