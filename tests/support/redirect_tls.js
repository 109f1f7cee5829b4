// Loaded before a program: leads its TLS connections to 127.0.0.1 at the port TEST_TLS_PORT.
const tls = require("tls");
const connect = tls.connect;
tls.connect = function (options, ...rest) {
  const name = options.servername || options.host;
  return connect({ ...options, host: "127.0.0.1", port: process.env.TEST_TLS_PORT, servername: name }, ...rest);
};
