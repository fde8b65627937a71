package jobspecs

import (
	"crypto/md5" //nolint:gosec // job files use it for names, not for secrets
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"golang.org/x/crypto/bcrypt"
)

// textFunction makes a function from strings to a string.
func textFunction(names string, impl func(args []string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: stringParams(names),
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := impl(texts(args))
			if err == nil && !utf8.ValidString(s) {
				err = errors.New("the result is not UTF-8 text")
			}
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			return cty.StringVal(s), nil
		},
	})
}

// testFunction makes a function from two strings to true or false.
func testFunction(test func(s, part string) bool) function.Function {
	return function.New(&function.Spec{
		Params: stringParams("string part"),
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(test(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

func stringParams(names string) []function.Parameter {
	var params []function.Parameter
	for _, n := range strings.Fields(names) {
		params = append(params, function.Parameter{Name: n, Type: cty.String})
	}
	return params
}

func texts(args []cty.Value) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a.AsString()
	}
	return out
}

func textFunctions() map[string]function.Function {
	return map[string]function.Function{
		"startswith":  testFunction(strings.HasPrefix),
		"endswith":    testFunction(strings.HasSuffix),
		"strcontains": testFunction(strings.Contains),
		"length":      lengthFunction(),
		"urlencode":   textFunction("string", func(a []string) (string, error) { return url.QueryEscape(a[0]), nil }),
		"base64encode": textFunction("string", func(a []string) (string, error) {
			return base64.StdEncoding.EncodeToString([]byte(a[0])), nil
		}),
		"base64decode": textFunction("string", func(a []string) (string, error) {
			b, err := base64.StdEncoding.DecodeString(a[0])
			return string(b), err
		}),
		"uuidv4": textFunction("", func([]string) (string, error) {
			u, err := uuid.NewRandom()
			return u.String(), err
		}),
		"uuidv5": textFunction("namespace name", uuidV5),
	}
}

// lengthFunction counts elements, and the characters of a string.
func lengthFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType}},
		Type: func(args []cty.Value) (cty.Type, error) {
			if ty := args[0].Type(); ty == cty.String || ty == cty.DynamicPseudoType || ty.IsTupleType() || ty.IsObjectType() || ty.IsCollectionType() {
				return cty.Number, nil
			}
			return cty.Number, errors.New("a string, a list, a set or a map is needed")
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if args[0].Type() == cty.String {
				return stdlib.Strlen(args[0])
			}
			return cty.NumberIntVal(int64(args[0].LengthInt())), nil
		},
	})
}

func uuidV5(a []string) (string, error) {
	known := map[string]uuid.UUID{"dns": uuid.NameSpaceDNS, "url": uuid.NameSpaceURL, "oid": uuid.NameSpaceOID, "x500": uuid.NameSpaceX500}
	space, ok := known[a[0]]
	if !ok {
		var err error
		if space, err = uuid.Parse(a[0]); err != nil {
			return "", errors.New("the namespace must be dns, url, oid, x500 or a UUID")
		}
	}
	return uuid.NewSHA1(space, []byte(a[1])).String(), nil
}

func hashFunctions() map[string]function.Function {
	sum := func(hash func([]byte) []byte) function.Function {
		return textFunction("string", func(a []string) (string, error) { return hex.EncodeToString(hash([]byte(a[0]))), nil })
	}
	return map[string]function.Function{
		"md5":        sum(func(b []byte) []byte { s := md5.Sum(b); return s[:] }),  //nolint:gosec // see the import
		"sha1":       sum(func(b []byte) []byte { s := sha1.Sum(b); return s[:] }), //nolint:gosec // see the import
		"sha256":     sum(func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }),
		"sha512":     sum(func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }),
		"rsadecrypt": textFunction("ciphertext privatekey", rsaDecrypt),
		"bcrypt": function.New(&function.Spec{
			Params:   stringParams("string"),
			VarParam: &function.Parameter{Name: "cost", Type: cty.Number},
			Type:     function.StaticReturnType(cty.String),
			Impl:     bcryptHash,
		}),
	}
}

func bcryptHash(args []cty.Value, _ cty.Type) (cty.Value, error) {
	cost := bcrypt.DefaultCost
	if len(args) > 1 {
		n, _ := args[1].AsBigFloat().Int64()
		if cost = int(n); cost < bcrypt.MinCost || cost > MaxBcryptCost {
			return cty.UnknownVal(cty.String), fmt.Errorf("the cost must be between %d and %d", bcrypt.MinCost, MaxBcryptCost)
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(args[0].AsString()), cost)
	if err != nil {
		return cty.UnknownVal(cty.String), err
	}
	return cty.StringVal(string(hash)), nil
}

// rsaDecrypt decrypts base64 text with a private key in PEM.
func rsaDecrypt(a []string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(a[0])
	if err != nil {
		return "", errors.New("the ciphertext is not base64")
	}
	block, _ := pem.Decode([]byte(a[1]))
	if block == nil || len(block.Bytes) > 16<<10 {
		return "", errors.New("the key is not a private key in PEM")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return "", errors.New("the key is not an RSA private key")
		}
		var ok bool
		if key, ok = any.(*rsa.PrivateKey); !ok {
			return "", errors.New("the key is not an RSA private key")
		}
	}
	out, err := rsa.DecryptPKCS1v15(nil, key, text) //nolint:staticcheck // the format that job files use
	if err != nil {
		return "", errors.New("the ciphertext does not belong to the key")
	}
	return string(out), nil
}
