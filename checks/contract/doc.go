// Package contract holds openapi.yaml, the description of the API, and the
// tests that hold it, the client and the fake server to each other. It is all
// tests; README.md says which.
package contract
