package jobspecs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// metaOf evaluates an expression as an attribute of meta.
func metaOf(expr string, in Inputs) (string, Diagnostics) {
	j, ds := Parse(Source{Name: "j", Data: jobWith("  meta = {\n    a = " + expr + "\n  }")}, in)
	if j == nil {
		return "", ds
	}
	return j.Meta["a"], ds
}

// TestFunctions calls every function at least once.
func TestFunctions(t *testing.T) {
	cases := map[string]string{ // expression → result
		`abs(-3)`:              "3",
		`base64decode("aGk=")`: "hi",
		`base64encode("hi")`:   "aGk=",
		`basename("/a/b")`:     "b",
		`can(tonumber("x"))`:   "false",
		`ceil(1.2)`:            "2",
		`chomp("a\n")`:         "a",
		`join("|", [for c in chunklist(["a", "b", "c"], 2) : join(",", c)])`: "a,b|c",
		`cidrhost("10.12.127.0/20", 16)`:                                     "10.12.112.16",
		`cidrhost("10.12.127.0/20", -2)`:                                     "10.12.127.254",
		`cidrnetmask("172.16.0.0/12")`:                                       "255.240.0.0",
		`cidrsubnet("172.16.0.0/12", 4, 2)`:                                  "172.18.0.0/16",
		`join(",", cidrsubnets("10.1.0.0/16", 4, 4, 8, 4))`:                  "10.1.0.0/20,10.1.16.0/20,10.1.32.0/24,10.1.48.0/20",
		`coalesce(null, "b")`:                                                "b",
		`join(",", coalescelist([], ["b"]))`:                                 "b",
		`join(",", compact(["a", "", "b"]))`:                                 "a,b",
		`join(",", concat(["a"], ["b"]))`:                                    "a,b",
		`contains(["a"], "a")`:                                               "true",
		`convert("5", number) + 1`:                                           "6",
		`join(",", convert([1, 2], list(string)))`:                           "1,2",
		`csvdecode("a,b\n1,2")[0].b`:                                         "2",
		`dirname("/a/b")`:                                                    "/a",
		`join(",", distinct(["a", "b", "a"]))`:                               "a,b",
		`element(["a", "b"], 3)`:                                             "b",
		`endswith("abc", "bc")`:                                              "true",
		`env("HOME_OF_IT")`:                                                  "here",
		`env("NOT_THERE")`:                                                   "",
		`join(",", flatten([["a"], ["b", ["c"]]]))`:                          "a,b,c",
		`floor(1.8)`:                                                "1",
		`format("%03d-%s", 7, "x")`:                                 "007-x",
		`formatdate("YYYY", "2026-01-02T03:04:05Z")`:                "2026",
		`join(",", formatlist("%s!", ["a", "b"]))`:                  "a!,b!",
		`indent(2, "a\nb")`:                                         "a\n  b",
		`index(["a", "b"], 1)`:                                      "b",
		`jsondecode("{\"a\": [1]}").a[0]`:                           "1",
		`jsonencode({ a = 1 })`:                                     `{"a":1}`,
		`join(",", keys({ b = 1, a = 2 }))`:                         "a,b",
		`length("héllo")`:                                           "5",
		`length({ a = 1 })`:                                         "1",
		`log(8, 2)`:                                                 "3",
		`lookup({ a = "x" }, "b", "none")`:                          "none",
		`lower("ABC")`:                                              "abc",
		`max(1, 3, 2)`:                                              "3",
		`md5("a")`:                                                  "0cc175b9c0f1b6a831c399e269772661",
		`jsonencode(merge({ a = 1 }, { a = 2 }))`:                   `{"a":2}`,
		`min(3, 1)`:                                                 "1",
		`parseint("ff", 16)`:                                        "255",
		`pow(2, 10)`:                                                "1024",
		`join(",", [for i in range(3) : tostring(i)])`:              "0,1,2",
		`regex("[0-9]+", "ab12")`:                                   "12",
		`join(",", regexall("[a-z]", "a1b2"))`:                      "a,b",
		`regex_replace("a1", "[0-9]", "x$0")`:                       "ax1",
		`replace("a.b.c", ".", "-")`:                                "a-b-c",
		`join(",", reverse(["a", "b"]))`:                            "b,a",
		`join(",", setintersection(["a", "b"], ["b"]))`:             "b",
		`length(setproduct(["a", "b"], [1, 2]))`:                    "4",
		`join(",", setsubtract(["a", "b"], ["b"]))`:                 "a",
		`join(",", setsymmetricdifference(["a", "b"], ["b", "c"]))`: "a,c",
		`join(",", setunion(["a"], ["b"]))`:                         "a,b",
		`sha1("a")`:                                                 "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8",
		`sha256("a")`:                                               "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
		`substr(sha512("a"), 0, 8)`:                                 "1f40fc92",
		`signum(-4)`:                                                "-1",
		`join(",", slice(["a", "b", "c"], 1, 3))`:                   "b,c",
		`join(",", sort(["b", "a"]))`:                               "a,b",
		`split(",", "a,b")[1]`:                                      "b",
		`startswith("abc", "ab")`:                                   "true",
		`strcontains("abc", "b")`:                                   "true",
		`strlen("héllo")`:                                           "5",
		`strrev("abc")`:                                             "cba",
		`substr("abc", 1, 1)`:                                       "b",
		`timeadd("2026-01-02T03:04:05Z", "1h")`:                     "2026-01-02T04:04:05Z",
		`title("a b")`:                                              "A B",
		`tobool("true")`:                                            "true",
		`tolist(["a"])[0]`:                                          "a",
		`tomap({ a = "x" })["a"]`:                                   "x",
		`tonumber("4") * 2`:                                         "8",
		`length(toset(["a", "a"]))`:                                 "1",
		`tostring(5)`:                                               "5",
		`trim("xxaxx", "x")`:                                        "a",
		`trimprefix("abc", "a")`:                                    "bc",
		`trimspace(" a ")`:                                          "a",
		`trimsuffix("abc", "c")`:                                    "ab",
		`try(tonumber("x"), "fallback")`:                            "fallback",
		`upper("abc")`:                                              "ABC",
		`urlencode("a b&c")`:                                        "a+b%26c",
		`length(uuidv4())`:                                          "36",
		`uuidv5("dns", "example.com")`:                              "cfbff0d1-9375-5685-968c-48ce8b15ae17",
		`join(",", values({ b = 1, a = 2 }))`:                       "2,1",
		`yamldecode("a: [1, 2]").a[1]`:                              "2",
		`yamlencode({ a = 1 })`:                                     "\"a\": 1\n",
		`jsonencode(zipmap(["a"], [1]))`:                            `{"a":1}`,
		`filebase64("note.txt")`:                                    "YSB0ZXh0IGZpbGUK",
		`file("note.txt")`:                                          "a text file\n",
		`fileexists("note.txt")`:                                    "true",
		`length(fileset(".", "**"))`:                                "2",
		`endswith(abspath("x"), "testdata/files/x")`:                "true",
		`pathexpand("a/b")`:                                         "a/b",
		`startswith(pathexpand("~/x"), "/")`:                        "true",
		`templatefile("greeting.tpl", { name = "n", list = [] })`:   "Hello n, ${attr.cpu.arch} \n",
	}
	in := Inputs{Env: []string{"HOME_OF_IT=there", "HOME_OF_IT=here"}, BaseDir: "testdata/files", Strict: true}
	called := strings.Join(slices.Collect(maps.Keys(cases)), "\n")
	for expr, want := range cases {
		if got, ds := metaOf(expr, in); got != want || ds.HasErrors() {
			t.Errorf("%s is %q, want %q: %s", expr, got, want, ds.Error())
		}
	}
	for _, name := range Functions() {
		if name != "bcrypt" && name != "rsadecrypt" && !strings.Contains(called, name+"(") {
			t.Errorf("%s is never called here", name)
		}
	}
}

func TestSecretFunctions(t *testing.T) {
	hash, ds := metaOf(`bcrypt("secret", 4)`, Inputs{})
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte("secret")); err != nil {
		t.Errorf("bcrypt made %q: %v %v", hash, err, ds)
	}
	key, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // a test's key
	if err != nil {
		t.Fatal(err)
	}
	text, err := rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range []*pem.Block{{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		in := Inputs{Env: []string{"KEY=" + string(pem.EncodeToMemory(block))}}
		if got, ds := metaOf(`rsadecrypt("`+base64.StdEncoding.EncodeToString(text)+`", env("KEY"))`, in); got != "hello" {
			t.Errorf("%s: got %q, %v", block.Type, got, ds)
		}
	}
}

func TestFunctionsThatRefuse(t *testing.T) {
	for expr, want := range map[string]string{
		`file("note.txt")`:                                 "files can be read only",
		`templatefile("x", {})`:                            "files can be read only",
		`fileexists("x")`:                                  "files can be read only",
		`fileset(".", "*")`:                                "files can be read only",
		`abspath("x")`:                                     "files can be read only",
		`base64decode("/w==")`:                             "not UTF-8",
		`base64decode("!")`:                                "illegal base64",
		`uuidv5("nonsense", "x")`:                          "must be dns, url",
		`cidrhost("10.0.0.0", 1)`:                          "not a network",
		`cidrhost("10.0.0.0/8", 1.5)`:                      "whole number",
		`cidrsubnet("10.0.0.0/8", 100, 1)`:                 "insufficient address space",
		`cidrsubnets("10.0.0.0/24", 1, 1, 1)[0]`:           "does not fit",
		`cidrnetmask("fe80::/10")`:                         "only IPv4",
		`length(5)`:                                        "a string, a list",
		`nonsense(5)`:                                      "unknown function",
		`uper("x")`:                                        "unknown function",
		`rsadecrypt("eA==", "x")`:                          "not a private key",
		`join(",", convert("x", list(string)))`:            "convert",
		`parseint("` + strings.Repeat("9", 301) + `", 10)`: "too many digits",
	} {
		if _, ds := metaOf(expr, Inputs{}); !strings.Contains(strings.ToLower(ds.Error()), strings.ToLower(want)) {
			t.Errorf("%s: got %q, want %q in it", expr, ds.Error(), want)
		}
	}
}
