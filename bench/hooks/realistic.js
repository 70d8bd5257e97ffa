// The text that the APIs of the memory test are made of: NUMBER becomes the number of the API, and the tables are filled in.
var checkNUMBER = new TykJS.TykMiddleware.NewMiddleware({});

var routesNUMBER = [
  /* routes */
];

var rulesNUMBER = {
  /* rules */
};

function findRouteNUMBER(url, method) {
  var path = url.split("?")[0];
  for (var i = 0; i < routesNUMBER.length; i++) {
    var route = routesNUMBER[i];
    if (route.pattern.test(path) && route.methods.indexOf(method) >= 0) {
      return route;
    }
  }
  return null;
}

function headerNUMBER(request, name) {
  var wanted = name.toLowerCase();
  for (var key in request.Headers) {
    if (key.toLowerCase() === wanted) {
      return request.Headers[key][0];
    }
  }
  return "";
}

function claimsNUMBER(token) {
  var parts = token.split(".");
  if (parts.length !== 3) {
    return {};
  }
  try {
    return JSON.parse(b64dec(parts[1]));
  } catch (error) {
    log("NUMBER: the claims cannot be read: " + error);
    return {};
  }
}

function problemsNUMBER(request) {
  var problems = [];
  for (var name in rulesNUMBER) {
    var rule = rulesNUMBER[name], value = headerNUMBER(request, name);
    if (!value) {
      if (rule.required) {
        problems.push({field: name, text: rule.text});
      }
    } else if (!rule.pattern.test(value) || value.length > rule.longest) {
      problems.push({field: name, text: rule.text});
    }
  }
  return problems;
}

checkNUMBER.NewProcessRequest(function (request, session, config) {
  var route = findRouteNUMBER(request.URL, request.Method);
  var problems = problemsNUMBER(request);
  var claims = claimsNUMBER(headerNUMBER(request, "X-Token"));
  request.SetHeaders["X-Route"] = route ? route.name : "none";
  request.SetHeaders["X-Problems"] = String(problems.length);
  if (claims.sub) {
    request.SetHeaders["X-Subject"] = claims.sub;
  }
  request.DeleteHeaders.push("X-Token");
  return checkNUMBER.ReturnData(request, session.meta_data);
});
