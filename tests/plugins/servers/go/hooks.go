package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "preforge.test/plugin/coprocess"
)

// hooks change the object in place; an error takes the reply's place.
var hooks = map[string]func(*pb.Object) error{
	"nothing": func(o *pb.Object) error { return nil },
	"headers": func(o *pb.Object) error {
		o.Request.SetHeaders = map[string]string{"X-Set": "by the plugin", "X-Both": "set", "X-Text": "Grüße"}
		o.Request.DeleteHeaders = []string{"X-Both", "x-gone"}
		return nil
	},
	"params": func(o *pb.Object) error {
		o.Request.AddParams = map[string]string{"added": "a b&c", "both": "set"}
		o.Request.DeleteParams = []string{"gone", "both"}
		return nil
	},
	"url": func(o *pb.Object) error {
		o.Request.Url = strings.Replace(o.Request.Url, "/x", "/rewritten", 1)
		return nil
	},
	"method": func(o *pb.Object) error {
		o.Request.Method = "PUT"
		return nil
	},
	"reverse": func(o *pb.Object) error {
		slices.Reverse(o.Request.RawBody)
		return nil
	},
	"refuse": func(o *pb.Object) error {
		overrides(o, 403, map[string]string{"X-Why": "a whim"})
		o.Request.ReturnOverrides.ResponseError = "not today"
		return nil
	},
	"answer": func(o *pb.Object) error {
		overrides(o, 418, map[string]string{"X-Why": "a teapot", "Content-Type": "text/x-pot"})
		o.Request.ReturnOverrides.ResponseBody = "short and stout\n"
		o.Request.ReturnOverrides.OverrideError = true
		return nil
	},
	"fails": func(o *pb.Object) error { return status.Error(codes.FailedPrecondition, "böse\n100%") },
	"slow": func(o *pb.Object) error {
		wait, err := time.ParseDuration(o.Request.Headers["X-Sleep"] + "s")
		time.Sleep(wait)
		return err
	},
	"auth": func(o *pb.Object) error {
		key := o.Request.Headers["Authorization"]
		if !strings.HasPrefix(key, "good") {
			overrides(o, 401, nil)
			o.Request.ReturnOverrides.ResponseError = "who are you"
			return nil
		}
		o.Session = &pb.SessionState{
			Rate: 100, Per: 1, QuotaMax: 50, QuotaRenewalRate: 3600, Alias: "of a plugin", Tags: []string{"one", "two"},
			AccessRights: map[string]*pb.AccessDefinition{
				"auth": {ApiId: "auth", ApiName: "auth", Versions: []string{"Default"}},
			},
			Metadata: map[string]string{"token": key, "colour": "blue"},
		}
		return nil
	},
	"session": func(o *pb.Object) error {
		s := o.Session
		o.Request.SetHeaders = map[string]string{
			"X-Session":  fmt.Sprintf("%s %g/%g %s %s", s.Alias, s.Rate, s.Per, strings.Join(s.Tags, ","), s.Metadata["colour"]),
			"X-Metadata": strings.Join(slices.Sorted(maps.Keys(o.Metadata)), ","),
		}
		return nil
	},
	"post": func(o *pb.Object) error {
		o.Request.SetHeaders = map[string]string{"X-Post": fmt.Sprintf("%s %s", o.HookType, o.Request.Url)}
		return nil
	},
	"response": func(o *pb.Object) error {
		o.Response.StatusCode = 202
		slices.Reverse(o.Response.RawBody)
		o.Response.Headers["X-First"] = "changed"
		o.Response.Headers["X-Many"] = "1"
		o.Response.MultivalueHeaders = append(o.Response.MultivalueHeaders, &pb.Header{Key: "X-Many", Values: []string{"1", "2"}})
		delete(o.Response.Headers, "X-Gone")
		return nil
	},
}

func overrides(o *pb.Object, code int32, headers map[string]string) {
	o.Request.ReturnOverrides = &pb.ReturnOverrides{ResponseCode: code, Headers: headers}
}
