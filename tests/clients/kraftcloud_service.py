"""Has a service served, with the package unikraft-cloud as it is.

Environment: UKC_METRO, UKC_TOKEN. Arguments: files with chain and key of a certificate, its common
name, a second domain that gets its certificate by itself, the port of the backend at 127.0.0.1.
Prints what was made, as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path

from unikraft_cloud import UnikraftCloud
from unikraft_cloud.api.platform import models


async def main(chain, key, explicit, automatic, port):
    async with UnikraftCloud() as cloud:
        certificate = await cloud.certificates.create(
            name="bought",
            cn=explicit,
            chain=Path(chain).read_text(),
            pkey=Path(key).read_text(),
        )
        service = await cloud.services.create(
            name="web",
            services=[
                {"port": 443, "destination_port": port, "handlers": ["tls", "http"]},
                {"port": 80, "destination_port": 443, "handlers": ["http", "redirect"]},
            ],
            domains=[
                {"name": explicit + ".", "certificate": {"name": "bought"}},
                {"name": automatic + "."},
            ],
        )
        # The friendlier create() knows the properties of the original platform only; the layer
        # below it, which the package documents for such cases, sends what it is given.
        created = await cloud.api.platform.instances.create_instance(
            body=models.CreateInstanceRequest.model_validate(
                {
                    "name": "web-1",
                    "image": "web:latest",
                    "private_ip": "127.0.0.1",
                    "service_group": {"uuid": service.uuid},
                }
            )
        )
        instance = await cloud.instances.get(uuid=created.data.instances[0].uuid)
        service = await cloud.services.get(name="web")
        managed = next(
            domain.certificate for domain in service.domains if domain.fqdn == automatic
        )
        for _ in range(200):
            issued = await cloud.certificates.get(uuid=managed.uuid)
            if issued.state != "pending":
                break
            await asyncio.sleep(0.05)
        return {
            "certificate": certificate.model_dump(mode="json"),
            "issued": issued.model_dump(mode="json"),
            "service": service.model_dump(mode="json"),
            "instance": instance.model_dump(mode="json"),
            "attached": [
                group.model_dump(mode="json")
                for group in (await cloud.certificates.get(name="bought")).service_groups
            ],
        }


*texts, port = sys.argv[1:]
print(json.dumps(asyncio.run(main(*texts, int(port)))))
