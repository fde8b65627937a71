package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/drover-io/drover/state"
)

// FuzzDecode feeds every request type of the table. Whatever comes, it is decoded or refused as invalid; a value that was
// taken in survives being written and read again.
func FuzzDecode(f *testing.F) {
	var types []reflect.Type
	for _, r := range Routes() {
		if r.Request != nil {
			types = append(types, r.Request)
		}
	}
	for _, seed := range []string{
		``, `{}`, `null`, `{"Job": {"ID": "web", "TaskGroups": [{"Name": "web"}]}, "EnforceIndex": true}`, `{"Jobb": 1}`,
		`{"NodeID": "n", "Held": [{"ID": "a", "ModifyIndex": 18446744073709551615}], "Wait": -1}`,
		`{"Report": {"NodeID": "n", "Allocs": [{"ID": "a", "Tasks": {"t": {"Events": [{"Type": "x"}]}}}]}}`,
		"[[[[[[", `{"a":"\ud800"}`, "{} {}", "\x00\xff",
	} {
		for i := range types {
			f.Add(uint(i), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which uint, data []byte) {
		typ := types[which%uint(len(types))]
		for _, strict := range []bool{true, false} {
			v := reflect.New(typ)
			err := decode(data, v.Interface(), strict)
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Message == "" || e.Code != CodeInvalid && e.Code != CodeTooLarge) {
				t.Fatalf("%s of %q: %v is no answer", typ, data, err)
			}
			if err != nil {
				continue
			}
			out, err := json.Marshal(v.Interface())
			if err != nil {
				t.Fatalf("%s of %q cannot be written: %v", typ, data, err)
			}
			if err := decode(out, reflect.New(typ).Interface(), strict); err != nil && nesting(out) <= maxNesting {
				t.Fatalf("%s of %q was written as %q, which is refused: %v", typ, data, out, err)
			}
		}
	})
}

// FuzzQuery feeds query strings to every route: they are taken within the limits or refused.
func FuzzQuery(f *testing.F) {
	routes := Routes()
	for _, seed := range []string{
		"", "stale", "index=1&wait=1s", "wait=9999h", "per_page=99999999999999999999", "prefix=%zz", "stale=true&consistent", "namespace=*",
		"index=-1", "wait=60", "pretty=0&region=global", ";", "a=b&a=c",
	} {
		f.Add(uint(0), seed)
	}
	a := &agent{h: &herd{}, store: state.NewStore()}
	f.Fuzz(func(t *testing.T, which uint, query string) {
		rt := &routes[which%uint(len(routes))]
		s := &Server{b: Backend{Cluster: a, Limits: DefaultLimits()}, self: a.Self}
		c := &call{s: s, rt: rt, r: requestFor(query)}
		err := c.parseQuery()
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Code != CodeInvalid) {
			t.Fatalf("%q: %v is no answer", query, err)
		}
		if err == nil && (c.opts.perPage < 1 || c.opts.perPage > MaxPage || c.opts.wait < MinWait || c.opts.wait > MaxWait) {
			t.Fatalf("%q: beyond the limits: %+v", query, c.opts)
		}
	})
}

// FuzzPathID sends IDs through the client's paths.
func FuzzPathID(f *testing.F) {
	for _, seed := range []string{"web", "a/b", "..", "", "%", "ü", "a?b#c", "\x00", "{id}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		path, err := expand("/v1/job/{id}/plan", id)
		if err != nil {
			return
		}
		segment := path[len("/v1/job/") : len(path)-len("/plan")]
		if got, err := url.PathUnescape(segment); err != nil || got != id {
			t.Fatalf("%q became %q: %v", id, path, err)
		}
	})
}

func requestFor(query string) *http.Request {
	return &http.Request{URL: &url.URL{Path: "/", RawQuery: query}}
}
