{application, bench, [{description, "writes down when it starts"}, {vsn, "1"}, {modules, [bench]},
  {registered, []}, {applications, [kernel, stdlib]}, {mod, {bench, []}}]}.
