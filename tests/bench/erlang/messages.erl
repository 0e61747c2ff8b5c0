%% Messages between two nodes, as TestMessages measures them: prints lines
%% "WHAT N MIN MEDIAN MAX" in nanoseconds, and "WHAT N PER_SECOND".
-module(messages).
-export([serve/0, run/1, reply/2]).

serve() ->
    register(server, self()),
    loop(0).

loop(Got) ->
    receive
        {call, From, Ref, M} -> From ! {Ref, M}, loop(Got);
        {count, From, Ref} -> From ! {Ref, Got}, loop(0);
        _ -> loop(Got + 1)
    end.

reply(To, Ref) -> To ! {Ref, ok}.

run([Node, File]) ->
    true = net_kernel:connect_node(Node),
    {ok, F} = file:open(File, [write]),
    B = binary:copy(<<"x">>, 100),
    Series = [{call, 5000, fun() -> call(Node, B) end},
              {apply, 5000, fun() -> B = erpc:call(Node, erlang, hd, [[B]]) end},
              {spawn, 5000, fun() -> R = make_ref(), spawn(Node, ?MODULE, reply, [self(), R]), receive {R, ok} -> ok end end}],
    [begin
         [Do() || _ <- lists:seq(1, 500)],
         T = lists:sort([time(Do) || _ <- lists:seq(1, N)]),
         io:format(F, "~s ~b ~b ~b ~b~n", [What, N, hd(T), lists:nth(N div 2, T), lists:last(T)])
     end || {What, N, Do} <- Series],
    [throughput(F, Node, Size, N) || {Size, N} <- [{100, 100000}, {1000, 100000}, {10000, 20000}]],
    file:close(F),
    halt(0).

time(Do) ->
    T = erlang:monotonic_time(nanosecond),
    Do(),
    erlang:monotonic_time(nanosecond) - T.

call(Node, M) ->
    R = make_ref(),
    {server, Node} ! {call, self(), R, M},
    receive {R, M} -> ok end.

throughput(F, Node, Size, N) ->
    M = binary:copy(<<"x">>, Size),
    D = time(fun() ->
        [{server, Node} ! M || _ <- lists:seq(1, N)],
        R = make_ref(),
        {server, Node} ! {count, self(), R},
        receive {R, N} -> ok end
    end),
    io:format(F, "one-way-~b ~b ~b~n", [Size, N, N * 1000000000 div D]).
