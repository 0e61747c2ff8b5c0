%% A distributed application that writes down when it starts: by itself, or by a
%% program that it starts as a port (the variable STAMP_PROGRAM).
-module(bench).
-behaviour(application).
-export([start/2, stop/1]).

start(_Type, _Args) ->
    Now = os:system_time(nanosecond),
    File = os:getenv("STAMP_FILE"),
    case os:getenv("STAMP_PROGRAM") of
        false ->
            ok = file:write_file(File, io_lib:format("~b ~s~n", [Now, node()]), [append]),
            {ok, spawn_link(fun() -> receive stop -> ok end end)};
        Program ->
            {ok, spawn_link(fun() ->
                open_port({spawn_executable, Program}, [{args, [File, atom_to_list(node())]}]),
                receive stop -> ok end
            end)}
    end.

stop(_State) -> ok.
