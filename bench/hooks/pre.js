// The hook of the benchmark: it sets one header, removes one and adds a parameter, as plugins of other kinds do there.
var benchPre = new TykJS.TykMiddleware.NewMiddleware({});

benchPre.NewProcessRequest(function (request, session, config) {
  request.SetHeaders["X-Bench"] = "1";
  request.DeleteHeaders.push("User-Agent");
  request.AddParams["bench"] = "1";
  return benchPre.ReturnData(request, session.meta_data);
});
