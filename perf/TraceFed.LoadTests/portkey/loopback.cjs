// Portkey listens on every interface and has no setting for it; a load test must not.
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return typeof options === "object"
    ? listen.call(this, { ...options, host: "127.0.0.1" }, ...rest)
    : listen.call(this, options, "127.0.0.1", ...rest.filter((r) => typeof r !== "string" && r !== undefined));
};
